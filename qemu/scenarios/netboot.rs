//! Machines boot from `keelson serve-netboot` on their LAN, each by the network boot of a real firmware.

use std::fs::{self, File};
use std::net::Ipv4Addr;

use machines::cluster::BackendKind::Qemu;
use machines::cluster::{BootSource, NetworkFirmware};

use super::kv::SOON;
use super::live::{self, DISK_BYTES, INSTALLATION};
use super::server::Server;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const LEASES: &str = "10.77.0.100-10.77.0.199";
const USER_DATA: &str = "#cloud-config\nwrite_files: [{path: /etc/from-netboot, content: applied}]\n";
/// The loaded UKI, and what the firmware and the kernel copy of it.
pub(super) const MEMORY: &[&str] = &["-m", "2048"];

pub const NETBOOT_BIOS: Scenario = Scenario {
    name: "netboot-bios",
    about: "a BIOS with iPXE in the adapter's ROM boots the live system from serve-netboot with its user-data",
    on: &[Qemu],
    long_on: &[Qemu],
    run: bios,
    ..DEFAULTS
};

pub const NETBOOT_HTTP: Scenario = Scenario {
    name: "netboot-http",
    about: "UEFI's HTTP boot starts the UKI from serve-netboot, without a loader",
    on: &[Qemu],
    long_on: &[Qemu],
    qemu_arguments: MEMORY,
    run: http,
    ..DEFAULTS
};

pub const NETBOOT_INSTALL: Scenario = Scenario {
    name: "netboot-install",
    about: "UEFI's PXE boots a machine that installs itself to the empty disk, once; then the disk boots, configured",
    on: &[Qemu],
    long_on: &[Qemu],
    run: install,
    ..DEFAULTS
};

/// Starts the server, with `rule` for all machines, and has the machines ask it. Their disks are empty.
pub(super) fn serve(context: &Context<'_>, firmware: NetworkFirmware, rule: &str) -> Result<Server, Failure> {
    let boot = live::files(context)?;
    let folder = context.site.layout().root().join("netboot");
    let failed = |source| Failure::Disk { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(folder.join("user-data"), USER_DATA).map_err(failed)?;
    let options = format!("console=ttyS0 {}", context.site.kernel_arguments().unwrap_or_default());
    let rules =
        format!("[[rule]]\nmatch = \"*\"\nuser-data = \"user-data\"\noptions = \"{options}\"\n{rule}\n");
    fs::write(folder.join("rules.toml"), rules).map_err(failed)?;
    let empty = folder.join("empty.raw");
    File::create(&empty).and_then(|file| file.set_len(DISK_BYTES)).map_err(failed)?;
    context.site.replace_image(&empty)?;
    context.site.set_boot_source(BootSource::Network(firmware))?;
    let [images, rules, state] = [
        boot.kernel.parent().unwrap_or(&folder).to_path_buf(),
        folder.join("rules.toml"),
        folder.join("state"),
    ]
    .map(|path| path.to_string_lossy().into_owned());
    let options = ["--images", &images, "--rules", &rules, "--state", &state, "--dhcp", LEASES];
    Server::start_on_lan(context, ADDRESS, &[&["serve-netboot"], &options[..]].concat())
}

/// Expects these steps of the machine since the server started.
fn expect_stages(server: &Server, expected: &[&str]) -> Result<(), Failure> {
    let stages = server.events("stage");
    expect(stages == *expected, &expected.join(" "), &stages.join(" "))
}

fn bios(context: &Context<'_>) -> Result<(), Failure> {
    let server = serve(context, NetworkFirmware::Bios, "")?;
    let machine = context.machine(1);
    machine.start()?;
    machine.fail("test -d /sys/firmware/efi")?;
    machine.succeed("grep -x applied /etc/from-netboot")?;
    server.wait_for_events("stage", "ready", 1, SOON)?;
    expect_stages(&server, &["offer", "script", "kernel", "initrd", "config", "ready"])
}

fn http(context: &Context<'_>) -> Result<(), Failure> {
    let server = serve(context, NetworkFirmware::Http, "")?;
    let machine = context.machine(1);
    machine.start()?;
    machine.succeed("test -d /sys/firmware/efi")?;
    let root = machine.succeed("findmnt --noheadings --output FSTYPE /")?;
    expect(root.trim() == "tmpfs", "a live system", &root)?;
    expect_stages(&server, &["offer", "kernel"])
}

fn install(context: &Context<'_>) -> Result<(), Failure> {
    let server = serve(context, NetworkFirmware::Pxe, "install = \"once\"")?;
    let machine = context.machine(1);
    machine.power_on()?;
    server.wait_for_events("stage", "installed", 1, INSTALLATION)?;
    // It reboots, gets no offer, and the firmware tries the next device.
    machine.wait_until_succeeds(
        "findmnt --noheadings --output SOURCE / | grep ^/dev/vda",
        context.boot_limit(),
    )?;
    machine.wait_until_succeeds("systemctl is-active --quiet multi-user.target", SOON)?;
    machine.succeed("grep -x applied /etc/from-netboot")?;
    expect_stages(
        &server,
        &["offer", "loader", "offer", "script", "kernel", "initrd", "config", "installed", "disk"],
    )?;
    // Its record is lost: it reports the system that its disk has already, and boots from it.
    let record = context.site.layout().root().join("netboot/state/installed");
    fs::remove_dir_all(&record)
        .and_then(|()| fs::create_dir(&record))
        .map_err(|source| Failure::Disk { path: record.clone(), source })?;
    machine.execute("sudo systemctl reboot")?;
    server.wait_for_events("stage", "installed", 2, context.boot_limit())?;
    let booted =
        "findmnt --noheadings --output SOURCE / | grep ^/dev/vda && grep -x applied /etc/from-netboot";
    server.wait_for_events("stage", "disk", 2, context.boot_limit())?;
    machine.wait_until_succeeds(booted, context.boot_limit()).map(drop).map_err(Failure::from)
}
