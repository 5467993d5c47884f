//! Machines boot from `keelson serve-netboot` on their LAN, each by the network boot of a real firmware.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use machines::cluster::BackendKind::Qemu;
use machines::cluster::{BootSource, NetworkFirmware};

use super::kv::SOON;
use super::live::{DISK_BYTES, INSTALLATION, files};
use super::server::Server;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const LEASES: &str = "10.77.0.100-10.77.0.199";
/// Below [`folder`].
const RULES: &str = "rules.toml";
const USER_DATA: &str = "#cloud-config\nwrite_files: [{path: /etc/from-netboot, content: applied}]\n";
const IS_LIVE: &str = "findmnt --noheadings --output FSTYPE / | grep --line-regexp tmpfs";
const IS_CONFIGURED: &str = "grep --line-regexp applied /etc/from-netboot";
const ON_DISK: &str = "findmnt --noheadings --output SOURCE / | grep ^/dev/vda";
/// The steps of UEFI until iPXE asks for its script.
const UEFI: &[&str] = &["offer", "loader", "offer"];
/// The steps after them.
const LIVE: &[&str] = &["script", "kernel", "initrd", "config", "ready"];
const INSTALLED: &[&str] = &["script", "kernel", "initrd", "config", "installed", "disk"];
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
    about: "UEFI's HTTP boot, which loads iPXE: serve-netboot's live system, then an installation once, then the disk",
    on: &[Qemu],
    long_on: &[Qemu],
    run: http,
    ..DEFAULTS
};

pub const NETBOOT_UKI: Scenario = Scenario {
    name: "netboot-uki",
    about: "UEFI's HTTP boot starts the UKI from serve-netboot, without a loader",
    on: &[Qemu],
    long_on: &[Qemu],
    qemu_arguments: MEMORY,
    run: uki,
    ..DEFAULTS
};

pub const NETBOOT_INSTALL: Scenario = Scenario {
    name: "netboot-install",
    about: "UEFI's PXE, which loads iPXE: the live system, an installation once, the disk; the disk also without the \
            server's record",
    on: &[Qemu],
    long_on: &[Qemu],
    run: pxe,
    ..DEFAULTS
};

/// Starts the server, with `rule` for all machines, and has the machines ask it. Their disks are empty.
pub(super) fn serve(context: &Context<'_>, firmware: NetworkFirmware, rule: &str) -> Result<Server, Failure> {
    let boot = files(context)?;
    let folder = folder(context);
    let failed = |source| Failure::Disk { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(folder.join("user-data"), USER_DATA).map_err(failed)?;
    set_rule(context, rule)?;
    let empty = folder.join("empty.raw");
    File::create(&empty).and_then(|file| file.set_len(DISK_BYTES)).map_err(failed)?;
    context.site.replace_image(&empty)?;
    context.site.set_boot_source(BootSource::Network(firmware))?;
    let [images, rules, state] =
        [boot.kernel.parent().unwrap_or(&folder).to_path_buf(), folder.join(RULES), folder.join("state")]
            .map(|path| path.to_string_lossy().into_owned());
    let options = ["--images", &images, "--rules", &rules, "--state", &state, "--dhcp", LEASES];
    Server::start_on_lan(context, ADDRESS, &[&["serve-netboot"], &options[..]].concat())
}

fn folder(context: &Context<'_>) -> PathBuf {
    context.site.layout().root().join("netboot")
}

/// Replaces the rules by one for all machines. The server reads them anew.
fn set_rule(context: &Context<'_>, rule: &str) -> Result<(), Failure> {
    let path = folder(context).join(RULES);
    let options = format!("console=ttyS0 {}", context.site.kernel_arguments().unwrap_or_default());
    let rules =
        format!("[[rule]]\nmatch = \"*\"\nuser-data = \"user-data\"\noptions = \"{options}\"\n{rule}\n");
    fs::write(&path, rules).map_err(|source| Failure::Disk { path, source })
}

/// Expects these steps of the machine since the server started.
fn expect_stages(server: &Server, expected: &[&str]) -> Result<(), Failure> {
    let stages = server.events("stage");
    expect(stages == *expected, &expected.join(" "), &stages.join(" "))
}

fn bios(context: &Context<'_>) -> Result<(), Failure> {
    live(context, NetworkFirmware::Bios, &["offer"]).map(drop)
}

fn http(context: &Context<'_>) -> Result<(), Failure> {
    live_then_installed(context, NetworkFirmware::Http).map(drop)
}

fn uki(context: &Context<'_>) -> Result<(), Failure> {
    let server = serve(context, NetworkFirmware::Http, "http-boot = \"uki\"")?;
    let machine = context.machine(1);
    machine.start()?;
    machine.succeed("test -d /sys/firmware/efi")?;
    machine.succeed(IS_LIVE)?;
    expect_stages(&server, &["offer", "kernel"])
}

fn pxe(context: &Context<'_>) -> Result<(), Failure> {
    let server = live_then_installed(context, NetworkFirmware::Pxe)?;
    // Its record is lost: it reports the system that its disk has already, and boots from it.
    let machine = context.machine(1);
    let record = folder(context).join("state/installed");
    fs::remove_dir_all(&record)
        .and_then(|()| fs::create_dir(&record))
        .map_err(|source| Failure::Disk { path: record.clone(), source })?;
    machine.execute("sudo systemctl reboot")?;
    server.wait_for_events("stage", "installed", 2, context.boot_limit())?;
    server.wait_for_events("stage", "disk", 2, context.boot_limit())?;
    machine.wait_until_succeeds(&format!("{ON_DISK} && {IS_CONFIGURED}"), context.boot_limit())?;
    Ok(())
}

/// Boots the live system by `firmware`. `loading` are the steps until iPXE asks for its script.
fn live(context: &Context<'_>, firmware: NetworkFirmware, loading: &[&str]) -> Result<Server, Failure> {
    let server = serve(context, firmware, "")?;
    let machine = context.machine(1);
    machine.start()?;
    let is_bios = firmware == NetworkFirmware::Bios;
    machine.succeed(if is_bios { "test ! -e /sys/firmware/efi" } else { "test -d /sys/firmware/efi" })?;
    machine.succeed(IS_LIVE)?;
    machine.succeed(IS_CONFIGURED)?;
    server.wait_for_events("stage", "ready", 1, SOON)?;
    expect_stages(&server, &[loading, LIVE].concat())?;
    Ok(server)
}

/// Boots the live system by a firmware of UEFI that loads iPXE, then installs it once, then boots from the disk.
fn live_then_installed(context: &Context<'_>, firmware: NetworkFirmware) -> Result<Server, Failure> {
    let server = live(context, firmware, UEFI)?;
    let machine = context.machine(1);
    set_rule(context, "install = \"once\"")?;
    machine.crash()?;
    machine.power_on()?;
    server.wait_for_events("stage", "installed", 1, INSTALLATION)?;
    // It reboots, gets no offer, and the firmware tries the next device.
    machine.wait_until_succeeds(ON_DISK, context.boot_limit())?;
    machine.wait_until_succeeds("systemctl is-active --quiet multi-user.target", SOON)?;
    machine.succeed(IS_CONFIGURED)?;
    expect_stages(&server, &[UEFI, LIVE, UEFI, INSTALLED].concat())?;
    Ok(server)
}
