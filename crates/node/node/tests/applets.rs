//! The applets, run by name on a test root.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

struct Machine(tempfile::TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = machine.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        machine
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// Runs the applet through a link, as the image has it.
    fn call(&self, name: &str, args: &[&str]) -> Output {
        let link = self.root().join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_node"), &link).unwrap();
        }
        Command::new(link).args(args).arg("--root").arg(self.root()).output().unwrap()
    }
}

fn check(output: &Output, code: i32, expected: &str) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(expected), "`{expected}` is not in: {text}");
}

const ROUTE_HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

#[test]
fn the_address_of_the_default_route_is_written_once() {
    let routes = format!("{ROUTE_HEAD}lo 00000000 00000000 0003 0 0 0 00000000 0 0 0\n");
    let machine = Machine::new(&[("proc/net/route", &routes), ("etc/environment", "A=b\n")]);
    let first = machine.call("coreos-setup-environment", &["/etc/environment"]);
    check(&first, 0, "127.0.0.1 of lo (default route) written to /etc/environment");
    let expected = "A=b\nCOREOS_PRIVATE_IPV4=127.0.0.1\nCOREOS_PUBLIC_IPV4=127.0.0.1\n";
    assert_eq!(machine.read("etc/environment"), expected);
    check(&machine.call("coreos-setup-environment", &["/etc/environment"]), 0, "already in /etc/environment");
}

#[test]
fn a_recorded_address_is_kept_while_the_machine_has_it() {
    let route = format!("{ROUTE_HEAD}lo\t00000000\t0100007F\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
    let recorded = |private: &str| format!("COREOS_PUBLIC_IPV4=203.0.113.7\nCOREOS_PRIVATE_IPV4={private}\n");
    // The machine of the test has no other address than that of the default route; the next one has gone.
    for (private, expect, log) in [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1 of lo (as recorded) already in"),
        ("198.51.100.9", "127.0.0.1", "127.0.0.1 of lo (default route) written to"),
    ] {
        let machine = Machine::new(&[("proc/net/route", &route), ("etc/environment", &recorded(private))]);
        check(&machine.call("coreos-setup-environment", &["--timeout", "0", "/etc/environment"]), 0, log);
        assert_eq!(machine.read("etc/environment"), recorded(expect));
    }
}

#[test]
fn the_platforms_own_program_goes_first() {
    let path = "usr/share/oem/bin/coreos-setup-environment";
    let script = "#!/bin/sh\necho \"platform: $*\"\nexit 3\n";
    let machine = Machine::new(&[(path, script), ("proc/net/route", ROUTE_HEAD)]);
    let call = || machine.call("coreos-setup-environment", &["--timeout", "0", "/etc/environment"]);
    // A program that is not executable does not count.
    check(&call(), 0, "is not executable there: the image's program runs instead\n");
    fs::set_permissions(machine.root().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    check(&call(), 3, "platform: /etc/environment\n");
    // It may be a link to this one, which must not start itself in a loop.
    fs::remove_file(machine.root().join(path)).unwrap();
    symlink(env!("CARGO_BIN_EXE_node"), machine.root().join(path)).unwrap();
    check(&call(), 0, "nothing written");
}

#[test]
fn without_a_route_nothing_is_written_and_nothing_fails() {
    let machine = Machine::new(&[("proc/net/route", ROUTE_HEAD), ("etc/environment", "A=b\n")]);
    let output = machine.call("coreos-setup-environment", &["--timeout", "0", "/etc/environment"]);
    check(&output, 0, "nothing written");
    assert_eq!(machine.read("etc/environment"), "A=b\n");
}

#[test]
fn reset_requires_confirmation() {
    let variable = "sys/firmware/efi/efivars/FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67";
    let machine = Machine::new(&[("sys/firmware/efi/efivars/BootOrder-x", "")]);
    check(&machine.call("keelson-reset", &[]), 2, "use --yes");
    assert!(!machine.root().join(variable).exists());
    check(&machine.call("keelson-reset", &["--yes", "--no-reboot"]), 0, "the next boot resets this machine");
    assert!(machine.root().join(variable).exists());
}

#[test]
fn reset_names_what_is_on_the_oem_partition() {
    let efi = ("sys/firmware/efi/efivars/BootOrder-x", "");
    let mounts = ("proc/self/mounts", "/dev/vda6 /usr/share/oem ext4 ro 0 0\n");
    let config = ("usr/share/oem/cloud-config.yml", "");
    let named = ("usr/share/oem/\u{1b}[2J", "");
    let machine = Machine::new(&[efi, mounts, config, named]);
    let kept = "kept on the OEM partition (--oem erases it): \\u{1b}[2J, cloud-config.yml\n";
    check(&machine.call("keelson-reset", &["--yes", "--no-reboot"]), 0, kept);
    let output = machine.call("keelson-reset", &["--yes", "--no-reboot", "--oem"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("kept"));
    check(&output, 0, "the next boot resets this machine");
    // Then the reset would leave the partition as it is.
    let machine = Machine::new(&[efi, config]);
    check(
        &machine.call("keelson-reset", &["--yes", "--oem"]),
        1,
        "hint: sudo systemctl start usr-share-oem.mount",
    );
    assert_eq!(fs::read_dir(machine.root().join("sys/firmware/efi/efivars")).unwrap().count(), 1);
}

/// The lock would stay with an ID that never returns, and a machine that keeps its ID would stay drained.
#[test]
fn reset_is_refused_while_locked_or_drained() {
    for (marker, content, hint) in [
        ("var/lib/locksmith/lock-requested", "", "hint: locksmithctl unlock"),
        ("var/lib/locksmith/drained", "open\n", "hint: sudo systemctl restart locksmithd"),
    ] {
        let machine = Machine::new(&[("sys/firmware/efi/efivars/BootOrder-x", ""), (marker, content)]);
        check(&machine.call("keelson-reset", &["--yes", "--no-reboot"]), 1, hint);
        let reset = machine.call("keelson-reset", &["--yes", "--no-reboot", "--ignore-lock"]);
        check(&reset, 0, "the next boot resets this machine");
    }
}

#[test]
fn container_cannot_be_reset() {
    let machine = Machine::new(&[("run/systemd/container", "systemd-nspawn\n")]);
    check(&machine.call("keelson-reset", &["--yes"]), 1, "hint: on the host, `cargo keelson destroy`");
    check(&Machine::new(&[]).call("keelson-reset", &["--yes"]), 1, "no EFI variables");
}

#[test]
fn etc_changes_are_listed_and_reverted() {
    let machine = Machine::new(&[("usr/share/factory/etc/motd", "image"), ("etc/motd", "mine")]);
    check(&machine.call("keelson-etc", &["diff"]), 0, "M /etc/motd\n");
    check(&machine.call("keelson-etc", &["revert", "/etc/motd"]), 0, "restored from the image");
    check(&machine.call("keelson-etc", &["diff", "--json"]), 0, "\"changes\": []");
    check(&machine.call("keelson-etc", &["revert", "/etc/motd"]), 1, "is unchanged");
    check(&machine.call("keelson-etc", &["revert", "/usr/bin/x"]), 1, "is not a path below /etc");
}

#[test]
fn program_name_selects_the_applet() {
    let machine = Machine::new(&[]);
    let node = || Command::new(env!("CARGO_BIN_EXE_node"));
    check(&node().output().unwrap(), 0, "usr/bin/keelson-reset\n");
    check(&node().args(["keelson-etc", "--help"]).output().unwrap(), 0, "sudo keelson-etc diff");
    check(&node().arg("keelson-nothing").output().unwrap(), 2, "unknown program keelson-nothing");
    check(&machine.call("keelson-wrong", &[]), 2, "unknown program keelson-wrong");
    check(&machine.call("keelson-etc", &["nonsense"]), 2, "nonsense");
}

/// An applet without a link in the image cannot be run there.
#[test]
fn a_machine_with_an_installed_disk_reports_it_or_is_left_alone() {
    const REPORT: &str = "keelson.install.report=http://a/installed";
    const INSTALL: &str = "coreos-install -s -e 7";
    let installed = "vdb has an installed system: nothing is installed";
    for (disk, more, expect, lines) in [
        ("vdb", "", installed, 1),
        ("vdb", REPORT, "\n/usr/lib/keelson/keelson-report http://a/installed\n", 2),
        ("vdb", "keelson.install.force", INSTALL, 1),
        ("loop0", REPORT, &format!("{INSTALL}\n/usr/lib/keelson/keelson-report http://a/installed\n"), 2),
    ] {
        let slot = format!("sys/devices/{disk}/{disk}2");
        let machine = Machine::new(&[
            ("proc/cmdline", &format!("quiet keelson.install=smallest {more}\n")),
            (&format!("{slot}/uevent"), "DEVTYPE=partition\nPARTNAME=USR-A\n"),
            ("sys/class/block/none", ""),
            ("sys/firmware/efi/fw_platform_size", "64\n"),
        ]);
        symlink(machine.root().join(&slot), machine.root().join(format!("sys/class/block/{disk}2"))).unwrap();
        let output = machine.call("keelson-unattended-install", &["--dry-run"]);
        check(&output, 0, expect);
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), lines, "{output:?}");
    }
    let machine =
        Machine::new(&[("proc/cmdline", "keelson.install=smallest\n"), ("sys/class/block/none", "")]);
    let output = machine.call("keelson-unattended-install", &["--dry-run"]);
    check(&output, 1, "a BIOS booted this machine");
}

#[test]
fn image_links_every_applet() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/programs.toml");
    let list = fs::read_to_string(list).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_node")).arg("--links").output().unwrap();
    let links = String::from_utf8(output.stdout).unwrap();
    assert!(links.lines().count() >= 6, "{links}");
    for link in links.lines() {
        assert!(list.contains(&format!("\"{link}\"")), "{link} is not in os/programs.toml");
    }
}

#[test]
fn ready_reports_a_missing_bus() {
    let machine = Machine::new(&[]);
    let link = machine.root().join("keelson-ready");
    symlink(env!("CARGO_BIN_EXE_node"), &link).unwrap();
    let socket = format!("unix:path={}", machine.root().join("absent").display());
    let output = Command::new(link).env("DBUS_SYSTEM_BUS_ADDRESS", socket).output().unwrap();
    check(&output, 1, "error: cannot reach the system bus: ");
}

#[test]
fn machine_without_systemd_is_unhealthy() {
    let machine = Machine::new(&[
        ("proc/sys/kernel/random/boot_id", "ab-cd\n"),
        ("usr/lib/os-release", "ID=keelson\nVERSION_ID=1.2.3\n"),
    ]);
    let link = machine.root().join("keelson-health-check");
    symlink(env!("CARGO_BIN_EXE_node"), &link).unwrap();
    let socket = format!("unix:path={}", machine.root().join("absent").display());
    let check_health = |limit: &str| {
        let mut command = Command::new(&link);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &socket).env("KEELSON_HEALTH_LIMIT", limit);
        command.arg("--root").arg(machine.root()).output().unwrap()
    };
    let expected = "this machine is not healthy: systemd: systemd does not respond on D-Bus: ";
    check(&check_health("0"), 1, expected);
    let report = machine.read("run/keelson/health.json");
    for part in ["\"state\": \"unhealthy\"", "\"version\": \"1.2.3\"", "\"boot_id\": \"abcd\""] {
        assert!(report.contains(part), "{report}");
    }
    check(&check_health("soon"), 1, "error: KEELSON_HEALTH_LIMIT=soon is not a number of seconds");
    check(&machine.call("keelson-health-check", &["--is-trial"]), 1, "the machine stays up: the boot loader");
}

#[test]
fn motd_works_without_a_bus() {
    let machine = Machine::new(&[
        ("usr/lib/os-release", "NAME=Keelson\nVERSION_ID=1.2.3\n"),
        ("etc/coreos/update.conf", "GROUP=alpha\nREBOOT_STRATEGY=off\n"),
    ]);
    let link = machine.root().join("keelson-motd");
    symlink(env!("CARGO_BIN_EXE_node"), &link).unwrap();
    let socket = format!("unix:path={}", machine.root().join("absent").display());
    let mut command = Command::new(link);
    let output =
        command.env("DBUS_SYSTEM_BUS_ADDRESS", socket).arg("--root").arg(machine.root()).output().unwrap();
    check(&output, 0, "Keelson alpha (1.2.3)\nUpdate Strategy: No Reboots\n");
}

/// `keelson-config-media check` as udev runs it, for a disk at this place of the bus.
fn check_medium(machine: &Machine, device: &str, system_path: &str, path: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_node"))
        .args(["keelson-config-media", "check", "--root"])
        .arg(machine.root())
        .envs([("DEVNAME", device), ("DEVPATH", system_path), ("ID_PATH", path), ("ID_FS_LABEL", "CIDATA")])
        .output()
        .unwrap()
}

const RECORD: &str = "var/lib/keelson/config-media.json";

#[test]
fn disks_provide_cloud_config_during_the_boot_only() {
    const DISK: &str = "/devices/pci0000:00/virtio1/block/vdb";
    let files = ["ro", "size"].map(|name| format!("sys{DISK}/{name}"));
    let [read_only, size] = files.each_ref().map(String::as_str);
    let machine =
        Machine::new(&[("run/coreos-cloudinit/result.json", "{}"), (read_only, "0\n"), (size, "2048\n")]);
    let virtual_disk = check_medium(&machine, "/dev/loop0", "/devices/virtual/block/loop0", "");
    check(&virtual_disk, 1, "/dev/loop0 (CIDATA) does not provide cloud-config: it is a virtual device");
    check(&check_medium(&machine, "/dev/vdb", DISK, "pci-1"), 0, "");
    check(&check_medium(&machine, "/dev/vdc", DISK, "pci-2"), 1, "another disk provides the configuration");
    check(&machine.call("keelson-config-media", &["close"]), 0, "");
    check(&check_medium(&machine, "/dev/vdb", DISK, "pci-1"), 0, "");
    check(&check_medium(&machine, "/dev/vdb", DISK, "pci-2"), 1, "the boot is over");

    // The next boot.
    assert_eq!(
        machine.read(RECORD),
        "{\"media\":[{\"path\":\"pci-1\",\"partition\":null,\"serial\":null}]}\n"
    );
    fs::remove_dir_all(machine.root().join("run")).unwrap();
    check(&check_medium(&machine, "/dev/vdc", DISK, "pci-2"), 1, "it is writable, and is not the one");
    fs::write(machine.root().join(read_only), "1\n").unwrap();
    check(&check_medium(&machine, "/dev/vdc", DISK, "pci-2"), 0, "");
    // The recorded one is gone: another disk at its place is another disk.
    check(&machine.call("keelson-config-media", &["close"]), 0, "");
    assert_eq!(machine.read(RECORD), "{\"media\":[]}\n");
}

#[test]
fn a_damaged_record_accepts_no_writable_disk_and_is_replaced() {
    let machine = Machine::new(&[(RECORD, "{")]);
    check(
        &check_medium(&machine, "/dev/vdb", "/devices/pci/vdb", "pci-1"),
        1,
        "config-media.json is not valid",
    );
    check(&machine.call("keelson-config-media", &["close"]), 0, "config-media.json is not valid");
    assert_eq!(machine.read(RECORD), "{\"media\":[]}\n");
}

#[test]
fn a_machine_without_configuration_accepts_its_first_one_at_any_time() {
    let machine = Machine::new(&[("sys/devices/pci/vdb/size", "2048\n")]);
    check(&machine.call("keelson-config-media", &["close"]), 0, "");
    assert!(!machine.root().join(RECORD).exists());
    check(&check_medium(&machine, "/dev/vdb", "/devices/pci/vdb", "pci-1"), 0, "");
}
