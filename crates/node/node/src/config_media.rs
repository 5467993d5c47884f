//! `keelson-config-media`: which disks may provide cloud-config.
//!
//! A disk provides it by its label, and whoever writes to a disk sets its label. In a virtual machine the hypervisor is
//! trusted, the machine's containers and users are not. Therefore media are read during the boot only, never from
//! virtual devices such as loop devices, and a writable disk only if it provided the first configuration of this machine.

mod decision;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use service::file::replace;

use crate::root::Root;
use decision::{Medium, Record, Refusal, decide};

/// A file for each accepted disk of this boot, named after its device.
const ACCEPTED: &str = "/run/keelson/config-media";
/// Exists from the end of the boot.
const CLOSED: &str = "/run/keelson/config-media-closed";
/// The disks that provided the configuration of earlier boots.
const RECORD: &str = "/var/lib/keelson/config-media.json";
/// Written by coreos-cloudinit in each boot in which it applied something.
const APPLIED: &str = "/run/coreos-cloudinit/result.json";
const FILE_MODE: u32 = 0o600;
/// udev discards the messages of its programs.
const KERNEL_LOG: &str = "/dev/kmsg";

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
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let device = variable("DEVNAME").context("$DEVNAME is not set; udev runs this program")?;
    let system_path = variable("DEVPATH").context("$DEVPATH is not set; udev runs this program")?;
    let is_read_only = variable("ID_CDROM").is_some()
        || fs::read_to_string(root.at("/sys").join(system_path.trim_start_matches('/')).join("ro"))
            .is_ok_and(|value| value.trim() == "1");
    let medium = Medium {
        label: variable("ID_FS_LABEL").unwrap_or_default(),
        path: variable("ID_PATH"),
        uuid: variable("ID_FS_UUID"),
    };
    let accepted = accepted_file(root, &device);
    let is_accepted = read::<Medium>(&accepted)?.is_some_and(|accepted| accepted == medium);
    let facts = decision::Facts {
        is_accepted,
        is_closed: root.at(CLOSED).exists(),
        is_virtual: system_path.starts_with("/devices/virtual/"),
        is_read_only,
    };
    let record: Option<Record> = read(&root.at(RECORD))?;
    if let Err(refusal) = decide(&medium, &facts, record.as_ref()) {
        report(root, &device, &medium, refusal);
        return Ok(ExitCode::FAILURE);
    }
    if !is_accepted {
        write(&accepted, &medium)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn close(root: &Root) -> Result<()> {
    let closed = root.at(CLOSED);
    // Before the list is read: a disk that is accepted later would not be recorded.
    write(&closed, &())?;
    let before: Option<Record> = read(&root.at(RECORD))?;
    // A machine without any configuration may still get its first one from a disk.
    if before.is_none() && !root.at(APPLIED).exists() {
        return Ok(());
    }
    let mut accepted = Vec::new();
    for entry in fs::read_dir(root.at(ACCEPTED)).into_iter().flatten() {
        accepted.extend(read::<Medium>(&entry?.path())?);
    }
    let after = before.clone().unwrap_or_default().with(accepted);
    if before.as_ref() != Some(&after) {
        write(&root.at(RECORD), &after)?;
    }
    Ok(())
}

fn accepted_file(root: &Root, device: &str) -> PathBuf {
    root.at(ACCEPTED).join(device.trim_start_matches('/').replace('/', "-"))
}

/// `None` if the file does not exist.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let value = serde_json::from_slice(&content)
        .with_context(|| format!("{} is not valid: remove it to accept any disk once", path.display()))?;
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
fn report(root: &Root, device: &str, medium: &Medium, refusal: Refusal) {
    let text =
        format!("keelson-config-media: {device} ({}) does not provide cloud-config: {refusal}", medium.label);
    let log = fs::OpenOptions::new().write(true).open(root.at(KERNEL_LOG));
    // One write is one message; 4 is the level of warnings.
    if log.and_then(|mut log| log.write_all(format!("<4>{text}\n").as_bytes())).is_err() {
        eprintln!("{text}");
    }
}
