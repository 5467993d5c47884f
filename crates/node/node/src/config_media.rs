//! `keelson-config-media`: which disks may provide cloud-config.
//!
//! A disk provides it by its label, and whoever writes to a disk sets its label. In a virtual machine the hypervisor is
//! trusted, the machine's containers and users are not. Therefore media are read during the boot only, never from
//! virtual devices such as loop devices, and a writable disk only at the first boot, and then in each boot if it was
//! in the last one.

mod decision;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use service::file::replace;

use crate::root::Root;
use decision::{Facts, Medium, Record, Refusal, decide};

/// A file for each accepted disk of this boot, named after its device.
const ACCEPTED: &str = "/run/keelson/config-media";
/// Exists from the end of the boot.
const CLOSED: &str = "/run/keelson/config-media-closed";
/// The writable disks that provided the configuration of the last boot.
const RECORD: &str = "/var/lib/keelson/config-media.json";
/// Written by coreos-cloudinit in each boot in which it applied something.
const APPLIED: &str = "/run/coreos-cloudinit/result.json";
const FILE_MODE: u32 = 0o600;
/// udev discards the messages of its programs.
const KERNEL_LOG: &str = "/dev/kmsg";

/// A disk that was accepted in this boot.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Accepted {
    /// `None` if udev has no path for it.
    medium: Option<Medium>,
    is_read_only: bool,
}

/// Decides which disks may provide cloud-config.
#[derive(Parser)]
#[command(name = "keelson-config-media", after_help = "Example:\n  keelson-config-media close")]
struct Flags {
    #[command(subcommand)]
    action: Action,
    #[arg(long, hide = true, default_value = "/", global = true)]
    root: Root,
}

#[derive(Subcommand)]
enum Action {
    /// Exit with 0 if the disk that udev's environment describes may provide cloud-config, with 1 if not
    Check,
    /// End of the boot: accept no further disks, and record those that were accepted
    Close,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    match flags.action {
        Action::Check => check(&flags.root),
        Action::Close => close(&flags.root).map(|()| ExitCode::SUCCESS),
    }
}

fn check(root: &Root) -> Result<ExitCode> {
    let device = variable("DEVNAME").context("$DEVNAME is not set; udev runs this program")?;
    let outcome = check_device(root, &device);
    let why = match &outcome {
        Ok(Ok(())) => return Ok(ExitCode::SUCCESS),
        Ok(Err(refusal)) => refusal.to_string(),
        Err(error) => format!("{error:#}"),
    };
    let label = variable("ID_FS_LABEL").unwrap_or_default();
    report(root, &format!("{device} ({label}) does not provide cloud-config: {why}"));
    Ok(ExitCode::FAILURE)
}

fn check_device(root: &Root, device: &str) -> Result<Result<(), Refusal>> {
    let system_path = variable("DEVPATH").context("$DEVPATH is not set; udev runs this program")?;
    let attribute = |name: &str| {
        let folder = root.at("/sys").join(system_path.trim_start_matches('/'));
        fs::read_to_string(folder.join(name)).map(|value| value.trim().to_owned()).unwrap_or_default()
    };
    let medium = variable("ID_PATH").map(|path| Medium {
        path,
        partition: variable("ID_PART_ENTRY_NUMBER").or_else(|| variable("PARTN")),
        serial: variable("ID_SERIAL"),
    });
    let is_read_only = variable("ID_CDROM").is_some() || attribute("ro") == "1";
    let folder = root.at(ACCEPTED);
    let file = folder.join(device.trim_start_matches('/').replace('/', "-"));
    let accepted = Accepted { medium: medium.clone(), is_read_only };
    // A later event of a disk that is in use.
    if read::<Accepted>(&file)?.is_some_and(|before| before == accepted) {
        return Ok(Ok(()));
    }
    let facts = Facts {
        is_closed: root.at(CLOSED).exists(),
        is_virtual: system_path.starts_with("/devices/virtual/")
            && !system_path.starts_with("/devices/virtual/nvme-subsystem/"),
        is_read_only,
        has_other: fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()),
        // In sectors of 512 bytes, whatever the disk has.
        bytes: attribute("size").parse::<u64>().unwrap_or(u64::MAX).saturating_mul(512),
    };
    let record: Option<Record> = if is_read_only { None } else { read(&root.at(RECORD))? };
    let decision = decide(medium.as_ref(), &facts, record.as_ref());
    if decision.is_ok() {
        write(&file, &accepted)?;
    }
    Ok(decision)
}

fn close(root: &Root) -> Result<()> {
    let before: Option<Record> = read(&root.at(RECORD)).unwrap_or_else(|error| {
        report(root, &format!("{error:#}; it is replaced"));
        Some(Record::default())
    });
    // A machine without any configuration, which nobody can use, may still get its first one.
    if before.is_none() && !root.at(APPLIED).exists() {
        return Ok(());
    }
    // Before the list is read: a disk that is accepted later would not be recorded.
    write(&root.at(CLOSED), &())?;
    let mut after = Record::default();
    for entry in fs::read_dir(root.at(ACCEPTED)).into_iter().flatten() {
        let accepted = read::<Accepted>(&entry?.path())?.filter(|accepted| !accepted.is_read_only);
        after.media.extend(accepted.and_then(|accepted| accepted.medium));
    }
    after.media.sort_by(|one, other| (&one.path, &one.partition).cmp(&(&other.path, &other.partition)));
    write(&root.at(RECORD), &after)
}

/// A property of udev's device.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `None` if the file does not exist.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let value =
        serde_json::from_slice(&content).with_context(|| format!("{} is not valid", path.display()))?;
    Ok(Some(value))
}

fn write(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut content = serde_json::to_vec(value)?;
    content.push(b'\n');
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| replace(path, &content, FILE_MODE))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// To the kernel log, which the journal includes, or to stderr.
fn report(root: &Root, message: &str) {
    let text = format!("keelson-config-media: {message}");
    let log = fs::OpenOptions::new().write(true).open(root.at(KERNEL_LOG));
    // One write is one message; 4 is the level of warnings.
    if log.and_then(|mut log| log.write_all(format!("<4>{text}\n").as_bytes())).is_err() {
        eprintln!("{text}");
    }
}
