//! Installs to a disk: what a machine writes, another one boots.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use crate::failure::{Failure, expect};
use crate::own_image::build_format;
use crate::scenario::{Context, DEFAULTS, Scenario};

/// Guest path of the folder with the image.
const SHARED: &str = "/home/core/dist";
/// Size of the disk, which is also that of the machine that boots from it.
pub(super) const DISK_GIB: u32 = 8;
pub(super) const DEVICE: &str = "/dev/disk/by-id/virtio-spare";
const USER_DATA: &str = "#cloud-config\nwrite_files: [{path: /etc/from-the-installer, content: applied}]\n";
/// Kernel argument of the installed system.
const ARGUMENT: &str = "keelson.scenario=install";
/// Logical volume on the disk that is installed to, as LVM names it: without LVM's metadata.
const VOLUME: &str = "group-volume";
/// An emulated machine decompresses and hashes slowly.
const LIMIT: Duration = Duration::from_secs(900);

pub const INSTALL: Scenario = Scenario {
    name: "install",
    about: "coreos-install writes an image, a cloud-config and kernel arguments to a disk, and a machine boots from it, once configured",
    nodes: 2,
    on: &[Qemu],
    long_on: &[Qemu],
    shared: &[SHARED],
    spare_disk_gib: Some(DISK_GIB),
    run: install,
    ..DEFAULTS
};

fn install(context: &Context<'_>) -> Result<(), Failure> {
    let machine = context.machine(1);
    let files = build_format(context.run, "raw.zst", &context.shared(1))?;
    let image = files.first().ok_or_else(|| Failure::Expected("a file".to_owned()))?;
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    installs_to_a_file(context, image)?;
    machine.start()?;
    refuses_what_is_in_use(&machine, &name)?;
    machine.write("/var/tmp/config.yml", USER_DATA.as_bytes())?;
    let image = format!("{SHARED}/{name}");
    is_part_of_a_volume(&machine, &name)?;
    let arguments = format!("-v -u --force --karg {ARGUMENT} -f {image} -c /var/tmp/config.yml");
    let journal = installs(&machine, &arguments)?;
    let stopped = format!("Deactivating the logical volume {VOLUME}");
    expect(journal.lines().any(|line| line == stopped), &stopped, &journal)?;
    let success = format!("Success! Keelson (from {image}) is installed on {DEVICE}");
    expect(journal.lines().any(|line| line == success), &success, &journal)?;
    // The firmware's list, and systemd's parser of it.
    let entries = machine.succeed("sudo bootctl --no-pager status; true")?;
    let entry = entries.split("Title: Keelson alpha").nth(1).unwrap_or_default();
    expect(entry.contains("EFI/BOOT/BOOTX64.EFI"), "a boot entry Keelson alpha", &entries)?;
    // The kernel has the new table: all partitions but ROOT.
    let labels =
        machine.succeed(&format!("lsblk -n -o PARTLABEL {DEVICE} | grep -v '^$' | sort | tr '\\n' ' '"))?;
    let expected = "EFI-SYSTEM OEM USR-A USR-A-verity USR-B USR-B-verity";
    expect(labels.trim() == expected, expected, &labels)?;
    machine.shut_down()?;
    boots(context, &context.site.layout().node(machine.name()).spare_disk())
}

/// What `keelson install` creates on the host is an image that `image verify` accepts.
fn installs_to_a_file(context: &Context<'_>, image: &Path) -> Result<(), Failure> {
    let folder = context.site.layout().root();
    let (program, disk, config) =
        (&context.run.background.program, folder.join("installed.raw"), folder.join("config.yml"));
    let failed = |source| Failure::Disk { path: config.clone(), source };
    fs::write(&config, USER_DATA).map_err(failed)?;
    let [to, from, with] = [disk.as_path(), image, &config].map(Path::as_os_str);
    let install = ["install", "--to"].map(OsStr::new);
    let flags = [to, OsStr::new("-f"), from, OsStr::new("-c"), with];
    let verify = ["image", "verify"].map(OsStr::new);
    for arguments in [[&install[..], &flags].concat(), [&verify[..], &[to]].concat()] {
        let output = Command::new(program).args(&arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|source| Failure::Disk { path: program.clone(), source })?;
        let text = String::from_utf8_lossy(&output.stderr);
        expect(output.status.success(), &format!("success of {arguments:?}"), &text)?;
    }
    fs::remove_file(&disk).map_err(|source| Failure::Disk { path: disk.clone(), source })
}

/// Installs to the spare disk, and returns what the program printed.
pub(super) fn installs(machine: &Machine<'_>, arguments: &str) -> Result<String, Failure> {
    machine.succeed(&format!(
        "sudo systemd-run --no-block --unit=install --property=Type=oneshot --remain-after-exit \
         coreos-install -d {DEVICE} {arguments}"
    ))?;
    machine.wait_for_unit("install.service", LIMIT)?;
    Ok(machine.succeed("sudo journalctl -b -o cat -u install.service")?)
}

fn refuses_what_is_in_use(machine: &Machine<'_>, name: &str) -> Result<(), Failure> {
    let system = "/dev/$(lsblk -n -d -o PKNAME $(findmnt -n -o SOURCE /))";
    let refused = machine.fail(&format!("sudo coreos-install -d {system} -f {SHARED}/{name} 2>&1"))?;
    expect(refused.contains("is the disk that the running system is on"), "a refusal", &refused)?;
    expect(refused.contains("is mounted at / (to free it: umount /)"), "the mount", &refused)?;
    let denied = machine.fail(&format!("coreos-install -d {DEVICE} -f {SHARED}/{name} 2>&1"))?;
    expect(denied.contains("is not writable (are you root?)"), "a refusal", &denied).map(drop)
}

/// The disk gets a logical volume that nothing uses.
fn is_part_of_a_volume(machine: &Machine<'_>, name: &str) -> Result<(), Failure> {
    machine.succeed(&format!(
        "echo 0 2048 linear $(readlink -f {DEVICE}) 4096 | sudo dmsetup create {VOLUME} --uuid LVM-scenario"
    ))?;
    let refused = machine.fail(&format!("sudo coreos-install -d {DEVICE} -f {SHARED}/{name} 2>&1"))?;
    expect(refused.contains(&format!("is part of the logical volume {VOLUME}")), "a refusal", &refused)?;
    expect(refused.contains("--force stops these"), "a hint", &refused)
}

/// Boots the second machine from the disk.
fn boots(context: &Context<'_>, disk: &Path) -> Result<(), Failure> {
    context.site.replace_image(disk)?;
    let machine = context.machine(2);
    let ready = machine.start()?;
    let failed = ready.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    machine.succeed("grep -x applied /etc/from-the-installer")?;
    // The addon's argument follows those of the boot image.
    machine.succeed(&format!("grep -E '(^| )usrhash=.* {ARGUMENT}( |$)' /proc/cmdline"))?;
    let kept = machine.read("/var/lib/coreos-install/user_data")?;
    expect(kept == USER_DATA, USER_DATA, &kept)?;
    let journal = machine.succeed("sudo journalctl -b -o cat -u 'user-cloudinit@*'")?;
    expect(journal.contains("Fetching user-data"), "an application of the file", &journal)?;
    // What the operator removes does not return.
    machine.succeed("sudo rm /var/lib/coreos-install/user_data /etc/from-the-installer")?;
    machine.reboot()?;
    machine.fail("ls /var/lib/coreos-install/user_data /etc/from-the-installer")?;
    machine.succeed("sudo cat /usr/share/oem/coreos-install/user_data").map(drop).map_err(Failure::from)
}
