//! The live system on a medium, as firmware boots it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use machines::cluster::BackendKind::Qemu;
use machines::cluster::{BootSource, Medium, MediumDrive};
use machines::machine::Machine;

use super::kv::SOON;
use super::live::{DISK_BYTES, INSTALLATION, is_verified};
use crate::failure::{Failure, expect};
use crate::own_image;
use crate::scenario::{Context, DEFAULTS, Scenario};

const LIVE_USER_DATA: &str = "#cloud-config\nwrite_files: [{path: /etc/from-the-medium, content: applied}]\n";
const INSTALLED_USER_DATA: &str =
    "#cloud-config\nwrite_files: [{path: /etc/from-the-installer, content: applied}]\n";
const NETWORK: &str = "[NetDev]\nName=medium0\nKind=dummy\n";
const TRUSTED: &str =
    "openssl verify -no-CApath -CAfile /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/medium.pem";
/// Firmware and boot loader have copies of the initrd until the kernel has started.
const MEMORY: &[&str] = &["-m", "2048"];

pub const ISO: Scenario = Scenario {
    name: "iso",
    about: "a customized ISO image boots by UEFI from a CD-ROM, and by BIOS from a USB stick",
    on: &[Qemu],
    long_on: &[Qemu],
    qemu_arguments: MEMORY,
    run: iso,
    ..DEFAULTS
};

pub const ISO_INSTALL: Scenario = Scenario {
    name: "iso-install",
    about: "a customized ISO image installs itself to the empty disk, once, and the disk boots configured",
    on: &[Qemu],
    long_on: &[Qemu],
    qemu_arguments: MEMORY,
    run: iso_install,
    ..DEFAULTS
};

/// The ISO image of the checkout, customized by the operator's command: `files` are flags with their files' name and content.
fn customized(
    context: &Context<'_>,
    files: &[(&str, &str, &str)],
    arguments: &[&str],
) -> Result<PathBuf, Failure> {
    let folder = context.site.layout().root().join("iso");
    let failed = |source| Failure::Disk { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    let built = own_image::build_format(context.run, "iso", &folder)?;
    let built = built.first().ok_or_else(|| Failure::Expected("an ISO image".to_owned()))?;
    let to = folder.join("customized.iso");
    let program = &context.run.background.program;
    let mut command = Command::new(program);
    command.args(["image", "customize"]).arg(built).arg("-o").arg(&to).args(arguments);
    for (flag, name, content) in files {
        let file = folder.join(name);
        fs::write(&file, content).map_err(failed)?;
        command.arg(flag).arg(file);
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Failure::Disk { path: program.clone(), source })?;
    expect(output.status.success(), "a customized image", &String::from_utf8_lossy(&output.stderr))?;
    Ok(to)
}

/// A certificate that no image trusts.
fn certificate() -> String {
    let lines = include_str!("../user-data/network.yaml").lines().map(str::trim);
    let lines = lines.skip_while(|line| !line.contains("BEGIN CERTIFICATE"));
    let mut text = String::new();
    for line in lines {
        text += &format!("{line}\n");
        if line.contains("END CERTIFICATE") {
            break;
        }
    }
    text
}

fn insert(context: &Context<'_>, iso: &Path, drive: MediumDrive, bios: bool) -> Result<(), Failure> {
    let medium = Medium { file: iso.to_path_buf(), drive, bios };
    Ok(context.site.set_boot_source(BootSource::Medium(medium))?)
}

/// Boots the live system.
fn boot(machine: &Machine<'_>) -> Result<(), Failure> {
    let failed = machine.start()?.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    machine.succeed("test -d /run/keelson/live")?;
    is_verified(machine)
}

fn iso(context: &Context<'_>) -> Result<(), Failure> {
    let files = [
        ("--user-data", "user-data", LIVE_USER_DATA),
        ("--network", "10-medium.netdev", NETWORK),
        ("--ca", "medium.pem", &*certificate()),
    ];
    let iso = customized(context, &files, &["--karg", "keelson.scenario=iso"])?;
    let machine = context.machine(1);
    for (drive, bios) in [(MediumDrive::CdRom, false), (MediumDrive::Usb, true)] {
        insert(context, &iso, drive, bios)?;
        boot(&machine)?;
        let has_uefi = machine.succeed("test -d /sys/firmware/efi && echo uefi || echo bios")?;
        expect(
            has_uefi.trim() == if bios { "bios" } else { "uefi" },
            "the firmware of the medium",
            &has_uefi,
        )?;
        machine.succeed("grep -x applied /etc/from-the-medium")?;
        machine.succeed("grep -w keelson.scenario=iso /proc/cmdline")?;
        machine.succeed("ip link show medium0")?;
        machine.succeed(TRUSTED)?;
        machine.wait_for_console("core (automatic login)", SOON)?;
        machine.shut_down()?;
    }
    Ok(())
}

fn iso_install(context: &Context<'_>) -> Result<(), Failure> {
    // A machine that restarted would boot the medium again.
    let files = [("--install-config", "user-data", INSTALLED_USER_DATA)];
    let arguments = ["--install", "/dev/vda", "--karg", "keelson.install.reboot=no"];
    let iso = customized(context, &files, &arguments)?;
    let empty = context.site.layout().root().join("iso/empty.raw");
    File::create(&empty)
        .and_then(|file| file.set_len(DISK_BYTES))
        .map_err(|source| Failure::Disk { path: empty.clone(), source })?;
    context.site.replace_image(&empty)?;
    insert(context, &iso, MediumDrive::CdRom, false)?;
    let machine = context.machine(1);
    boot(&machine)?;
    machine.wait_until_succeeds("! systemctl is-active --quiet keelson-unattended-install", INSTALLATION)?;
    let journal = machine.succeed("sudo journalctl -b -o cat -u keelson-unattended-install")?;
    expect(journal.contains("is installed on /dev/vda"), "an installation on /dev/vda", &journal)?;
    machine.shut_down()?;
    context.site.set_boot_source(BootSource::Disk)?;
    let failed = machine.start()?.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    machine.succeed("grep -x applied /etc/from-the-installer")?;
    let root = machine.succeed("findmnt --noheadings --output SOURCE /")?;
    expect(root.starts_with("/dev/vda"), "a root file system on /dev/vda", &root)
}
