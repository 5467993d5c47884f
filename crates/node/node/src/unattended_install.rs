//! `keelson-unattended-install`: runs `coreos-install` as the `keelson.install` arguments of the kernel command line say,
//! or those of a customized image, on a live system without an installed disk. With one, it reports the machine as
//! installed instead, so that the server lets it boot from its disk.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::root::Root;

const COMMAND_LINE: &str = "/proc/cmdline";
/// Exists if UEFI booted the machine.
const UEFI: &str = "/sys/firmware/efi";
/// Written by `keelson image customize --install`.
const CUSTOMIZATION: &str = "/usr/share/oem/unattended-install/arguments";
const MAX_CUSTOMIZATION: u64 = 64 << 10;
const BLOCK: &str = "/sys/class/block";
const PROGRAM: &str = "coreos-install";
/// Sends a POST request to its argument.
const REPORT: &str = "/usr/lib/keelson/keelson-report";
/// Exists once the machine should boot from its disk.
const BOOT_FROM_DISK: &str = "/run/keelson/boot-from-disk";
const FORCE: &str = "keelson.install.force";
/// Value of `keelson.install` for the smallest unused disk.
const SMALLEST: &str = "smallest";
/// Loop devices: the live system is on one.
const LOOP_MAJOR: &str = "7";
/// A partition that only an installed disk has.
const SLOT: &str = "PARTNAME=USR-A";

/// Installs the live system as the kernel command line or the image's customization says, unless a disk of this machine
/// has it already.
#[derive(Parser)]
#[command(
    name = "keelson-unattended-install",
    after_help = "Arguments of the kernel command line:\n  \
                  keelson.install=DEVICE|smallest       the disk\n  \
                  keelson.install.config=URL            cloud-config of the installed system\n  \
                  keelson.install.config-hash=DIGEST    its digest: sha256- and 64 hexadecimal digits\n  \
                  keelson.install.copy-network          keep the network units of the live system\n  \
                  keelson.install.report=URL            gets a POST request when the system is installed\n  \
                  keelson.install.force                 install although a disk has an installed system, or a BIOS booted the machine\n  \
                  keelson.install.reboot=no             stay in the live system"
)]
struct Flags {
    /// Print the command and run nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let text = fs::read_to_string(flags.root.at(COMMAND_LINE))
        .with_context(|| format!("cannot read {COMMAND_LINE}"))?;
    let request = match Request::parse(&text)? {
        Some(request) => Some(request),
        None => request_of_image(&flags.root)?,
    };
    let Some(Request { mut arguments, report }) = request else {
        bail!("neither {COMMAND_LINE} nor {CUSTOMIZATION} has keelson.install=");
    };
    let is_forced = text.split_ascii_whitespace().any(|argument| argument == FORCE);
    let mut commands = Vec::new();
    if let Some(disk) = installed_disk(&flags.root)?.filter(|_| !is_forced) {
        println!(
            "{disk} has an installed system: nothing is installed. Boot from it, or wipefs --all /dev/{disk}"
        );
        if report.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    } else if !is_forced && !flags.root.at(UEFI).exists() {
        bail!(
            "a BIOS booted this machine, and an installed disk boots by UEFI only: switch the firmware to UEFI, or add {FORCE}"
        );
    } else {
        arguments.insert(0, PROGRAM.to_owned());
        commands.push(arguments);
    }
    commands.extend(report.map(|url| vec![REPORT.to_owned(), url]));
    for command in &commands {
        let line = command.join(" ");
        println!("{line}");
        if flags.dry_run {
            continue;
        }
        let status = Command::new(&command[0]).args(&command[1..]).status();
        if !status.with_context(|| format!("cannot run {line}"))?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    if flags.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let marker = flags.root.at(BOOT_FROM_DISK);
    fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// What the image was customized with.
fn request_of_image(root: &Root) -> Result<Option<Request>> {
    let path = root.at(CUSTOMIZATION);
    let failed = || format!("cannot read {}", path.display());
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(failed),
    };
    let mut text = String::new();
    file.take(MAX_CUSTOMIZATION).read_to_string(&mut text).with_context(failed)?;
    Request::parse(&text).with_context(|| path.display().to_string())
}

/// A requested installation.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// Of `coreos-install`.
    arguments: Vec<String>,
    /// URL that gets a POST request when the machine has an installed system.
    report: Option<String>,
}

impl Request {
    /// `None` without `keelson.install`.
    fn parse(command_line: &str) -> Result<Option<Self>> {
        let (mut device, mut report) = (None, None);
        let mut more = Vec::new();
        for argument in command_line.split_ascii_whitespace() {
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            let Some(option) = key.strip_prefix("keelson.install") else { continue };
            match option {
                "" => device = Some(value),
                ".config" => more.extend(["-c", value]),
                ".config-hash" => more.extend(["--config-hash", value]),
                ".report" => report = Some(value.to_owned()),
                ".copy-network" => more.push("-n"),
                // Those of the caller and of the unit.
                ".force" | ".reboot" => {}
                _ => bail!("unknown argument {key}"),
            }
        }
        let disk = match device {
            None => return Ok(None),
            Some("") => bail!("keelson.install= names no disk"),
            Some(SMALLEST) => vec!["-s", "-e", LOOP_MAJOR],
            Some(device) => vec!["-d", device],
        };
        let arguments = disk.into_iter().chain(more).map(str::to_owned).collect();
        Ok(Some(Self { arguments, report }))
    }
}

/// The kernel's name of a disk with a slot that is no loop device.
fn installed_disk(root: &Root) -> Result<Option<String>> {
    let folder = root.at(BLOCK);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut disks: Vec<String> = entries.flatten().filter_map(|entry| disk_of_slot(&entry.path())).collect();
    disks.sort();
    Ok(disks.into_iter().find(|disk| !disk.starts_with("loop")))
}

/// The disk of a partition with a slot's label.
fn disk_of_slot(device: &Path) -> Option<String> {
    let uevent = fs::read_to_string(device.join("uevent")).ok()?;
    if !uevent.lines().any(|line| line == SLOT) {
        return None;
    }
    // The path in the device tree ends in DISK/PARTITION.
    let path = fs::canonicalize(device).ok()?;
    Some(path.parent()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(command_line: &str, expected: Option<(&str, Option<&str>)>) {
        let found = Request::parse(command_line).unwrap();
        let found = found.map(|request| (request.arguments.join(" "), request.report));
        let expected = expected.map(|(line, report)| (line.to_owned(), report.map(str::to_owned)));
        assert_eq!(found, expected, "{command_line}");
    }

    #[test]
    fn the_command_line_is_that_of_the_kernel() {
        check("console=ttyS0\n", None);
        check("quiet keelson.install=/dev/sda\n", Some(("-d /dev/sda", None)));
        check(
            "keelson.install=smallest keelson.install.config=http://a/b?mac=1 keelson.install.reboot=no \
             keelson.install.copy-network keelson.install.force keelson.install.config-hash=sha256-00 keelson.install.report=http://a/c",
            Some(("-s -e 7 -c http://a/b?mac=1 -n --config-hash sha256-00", Some("http://a/c"))),
        );
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for bad in ["keelson.install=", "keelson.install=/dev/sda keelson.install.confg=http://a"] {
            Request::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn a_customized_image_has_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert_eq!(request_of_image(&root).unwrap(), None);
        let path = root.at(CUSTOMIZATION);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "keelson.install=smallest\nkeelson.install.config=/usr/share/oem/a\n").unwrap();
        let found = request_of_image(&root).unwrap().unwrap();
        assert_eq!(found.arguments.join(" "), "-s -e 7 -c /usr/share/oem/a");
        fs::write(&path, "keelson.install.confg=/a\n").unwrap();
        let error = format!("{:#}", request_of_image(&root).unwrap_err());
        assert!(
            error.contains("unattended-install/arguments: unknown argument keelson.install.confg"),
            "{error}"
        );
    }

    #[test]
    fn an_installed_disk_is_found_and_the_live_image_is_not_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        let add = |disk: &str, partition: &str, label: &str| {
            let device = root.at(format!("/sys/devices/{disk}/{partition}"));
            fs::create_dir_all(&device).unwrap();
            fs::create_dir_all(root.at(BLOCK)).unwrap();
            fs::write(device.join("uevent"), format!("DEVTYPE=partition\nPARTNAME={label}\n")).unwrap();
            symlink(&device, root.at(BLOCK).join(partition)).unwrap();
        };
        add("loop1", "loop1p2", "USR-A");
        add("sda", "sda1", "USR-A-verity");
        assert_eq!(installed_disk(&root).unwrap(), None);
        add("vdb", "vdb2", "USR-A");
        assert_eq!(installed_disk(&root).unwrap().as_deref(), Some("vdb"));
    }
}
