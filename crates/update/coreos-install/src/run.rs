//! The order of an installation: checks, the source, the disk, and the result.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use disk_install::check::{DiskFacts, Kind, Majors, check, check_size, smallest_unused};
use disk_install::{
    BootEntries, DiskTarget, Fetcher, ImageStream, InstallError, Installation, Observer, OemError, OemFile,
    check_files, install, verify_file, write_files,
};
use disk_slots::Disk;
use disk_slots::gpt::ImageTable;

use crate::channel::ChannelServer;
use crate::configuration;
use crate::flags::Flags;
use crate::progress::Progress;
use crate::running;
use crate::settings::Settings;
use crate::source::Source;

/// Label of the partition for configuration.
const OEM: &str = "OEM";
/// Label of the partition with the boot loader, and its path there, which is the one that firmware looks for.
const ESP: &str = "EFI-SYSTEM";
const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";
const LOADER_ARM64: &str = r"\EFI\BOOT\BOOTAA64.EFI";
const EFI_VARIABLES: &str = "sys/firmware/efi/efivars";

/// The usage follows this error.
#[derive(Debug, thiserror::Error)]
#[error("No target block device provided, -d is required.")]
pub struct NoDevice;

pub fn run(flags: &Flags) -> Result<()> {
    let running = running::read(&flags.root);
    let settings = Settings::resolve(flags, &running);
    let server = || ChannelServer::of_system(&flags.root, running.appid.as_deref());
    let fetcher = Fetcher::new(concat!("coreos-install/", env!("CARGO_PKG_VERSION")), flags.fetch_retries);
    if flags.download_only {
        return download(flags, &settings, server, &fetcher);
    }
    let disk = checked_disk(flags)?;
    let firmware = boot_entries(flags, &disk)?;
    let files = configuration::read(flags, &fetcher)?;
    check_files(&files)?;
    if flags.dry_run {
        print!("{}", settings.print(flags));
        return Ok(());
    }
    let source = Source::find(flags, &settings, server, &fetcher)?;
    verbose(flags, &format!("source: {}", source.name));
    source.verify_beforehand()?;
    let table = write(flags, &source, &disk, &files, &fetcher)?;
    if let Some(firmware) = firmware {
        let title = format!("{} {}", settings.product, settings.channel);
        add_boot_entry(&firmware, &title, &settings, &table).with_context(|| {
            format!("the system is installed on {}, without a boot entry", disk.path.display())
        })?;
    }
    println!("Success! {} is installed on {}", source.summary, disk.path.display());
    if let Some(url) = &flags.report {
        fetcher.post(url).with_context(|| {
            format!("the system is installed on {}, and this could not be reported", disk.path.display())
        })?;
    }
    Ok(())
}

fn verbose(flags: &Flags, text: &str) {
    if flags.verbose {
        eprintln!("+ {text}");
    }
}

/// The firmware's boot entries for `-u`.
fn boot_entries(flags: &Flags, disk: &DiskFacts) -> Result<Option<BootEntries>> {
    if !flags.uefi_entry {
        return Ok(None);
    }
    if disk.kind == Kind::File {
        bail!("-u is for disks: no firmware starts from the file {}", disk.path.display());
    }
    Ok(Some(BootEntries::open(&flags.root.join(EFI_VARIABLES)).context("cannot create a boot entry (-u)")?))
}

fn add_boot_entry(
    firmware: &BootEntries,
    title: &str,
    settings: &Settings,
    table: &ImageTable,
) -> Result<()> {
    let loader = if settings.board.starts_with("arm64") { LOADER_ARM64 } else { LOADER };
    let partition = table.partitions().iter().find(|part| part.label == ESP);
    let partition = partition.with_context(|| format!("the image has no partition {ESP}"))?;
    let number = firmware.add(title, partition, loader)?;
    println!("Created the boot entry Boot{number:04X} ({title}).");
    Ok(())
}

/// The disk of the flags, unless it must not be written.
fn checked_disk(flags: &Flags) -> Result<DiskFacts> {
    let observer = Observer::new(&flags.root)?;
    let disk = match &flags.device {
        Some(device) => observer.target(device)?,
        None if flags.smallest => {
            let majors = Majors { include: flags.include.clone(), exclude: flags.exclude.clone() };
            let disks = observer.disks()?;
            let found = smallest_unused(&disks, &majors).cloned();
            found.context("Could not find smallest disk to install (min. 10GB).")?
        }
        None => return Err(NoDevice.into()),
    };
    verbose(flags, &format!("disk: {} ({} bytes)", disk.path.display(), disk.bytes));
    let refusals: Vec<_> = check(&disk).iter().map(ToString::to_string).collect();
    if !refusals.is_empty() {
        bail!("{}", refusals.join("\n"));
    }
    Ok(disk)
}

/// Returns the table of the image.
fn write(
    flags: &Flags,
    source: &Source,
    disk: &DiskFacts,
    files: &[OemFile],
    fetcher: &Fetcher,
) -> Result<ImageTable> {
    let verb = if source.is_remote() { "Downloading, writing and verifying" } else { "Writing" };
    println!("{verb} {}...", source.name);
    let mut stream = ImageStream::new(source.open(fetcher)?, source.verification.expected())?;
    // A file that is too small is refused, as a disk is.
    let installation =
        Installation::begin::<OemError>(&mut stream, |table| disk.bytes.max(table.needed_bytes()))?;
    check_size(disk, installation.table.needed_bytes())?;
    source.check_usr(&installation.table)?;
    let oem = installation.table.partitions().iter().find(|part| part.label == OEM).map(|part| part.offset);
    if oem.is_none() && !files.is_empty() {
        return Err(OemError::NoPartition.into());
    }
    let mut target = DiskTarget::open(&disk.path).map_err(|error| busy(flags, &disk.path, error))?;
    if target.length()? != disk.bytes {
        bail!("{} changed its size; start again", disk.path.display());
    }
    let mut progress = Progress::new();
    let add_files = |target: &mut DiskTarget| {
        if files.is_empty() {
            return Ok(());
        }
        if files.iter().any(|file| file.name == configuration::USER_DATA) {
            println!("Installing cloud-config...");
        }
        verbose(flags, &format!("OEM files: {files:?}"));
        write_files(&target.inherited_path(), oem.unwrap_or_default(), files)
    };
    install(&installation, stream, &mut target, ImageStream::verify, add_files, &mut |phase, done, total| {
        progress.report(phase, done, total);
    })
    .map_err(|error| match error {
        InstallError::Table(_) => error.into(),
        error => anyhow::Error::new(error)
            .context(format!("{} has no partition table now, and does not boot", disk.path.display())),
    })?;
    if disk.kind != Kind::File {
        verbose(flags, "reread partitions");
        target.reread_partitions()?;
    }
    Ok(installation.table)
}

/// `EBUSY` although the checks passed: the disk came into use since, or by what has no holder in sysfs.
fn busy(flags: &Flags, path: &Path, error: io::Error) -> anyhow::Error {
    let found = Observer::new(&flags.root).and_then(|observer| observer.target(path));
    match found.map(|disk| check(&disk)).ok().and_then(|refusals| refusals.into_iter().next()) {
        Some(refusal) => refusal.into(),
        None => anyhow::Error::new(error).context(format!("cannot open {} for writing", path.display())),
    }
}

/// Writes the image to the current directory, whole or not at all.
fn download(
    flags: &Flags,
    settings: &Settings,
    server: impl Fn() -> Result<ChannelServer>,
    fetcher: &Fetcher,
) -> Result<()> {
    let source = Source::find_remote(flags, settings, server, fetcher)?;
    if flags.dry_run {
        print!("{}", settings.print(flags));
        return Ok(());
    }
    println!("Downloading {}...", source.name);
    let name = PathBuf::from(&source.name);
    let failed = || format!("Could not download {}", source.name);
    let mut file =
        tempfile::Builder::new().prefix(".coreos-install-").tempfile_in(".").with_context(failed)?;
    io::copy(&mut source.open(fetcher)?, &mut file).with_context(failed)?;
    let written = File::open(file.path()).with_context(failed)?;
    verify_file(&written, &source.verification.expected())
        .with_context(|| format!("Could not verify {}.", source.name))?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&name).map_err(|error| error.error).with_context(failed)?;
    File::open(".").and_then(|folder| folder.sync_all()).with_context(failed)?;
    println!("Success! {} has been downloaded to the current directory", source.summary);
    Ok(())
}
