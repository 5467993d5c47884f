//! The order of an installation: checks, the source, the disk, and the result.

use anyhow::{Context, Result, bail};
use disk_install::check::{DiskFacts, Majors, smallest_unused};
use disk_install::{
    ADDON, BootPartitionError, DiskTarget, FilesError, ImageStream, Installation, Observer, OemError,
    OemFile, check_files, write_boot_file, write_files,
};
use disk_slots::Disk;
use disk_slots::gpt::{ImageTable, Partition};

use crate::channel::ChannelServer;
use crate::destination::Destination;
use crate::download::download;
use crate::flags::Flags;
use crate::job::Job;
use crate::kept::{Filter, refused};
use crate::partitions::{ESP, OEM, part};
use crate::progress::Progress;
use crate::source::Source;
use crate::{boot_entry, configuration, kernel_arguments, running};

/// The usage follows this error.
#[derive(Debug, thiserror::Error)]
#[error("No target block device provided, -d is required.")]
pub struct NoDevice;

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// `Keelson beta 3.2.1`.
    pub system: String,
    /// Size of the disk.
    pub bytes: u64,
}

/// `coreos-install`.
pub fn run(flags: &Flags) -> Result<()> {
    let running = running::read(&flags.root);
    let server = || ChannelServer::of_system(&flags.root, running.appid.as_deref());
    let print = |line: &str| println!("{}", line.trim_end_matches('\n'));
    let job = Job::new("coreos-install", &flags.install, (&flags.root, &running), &server, &print);
    if flags.download_only {
        return download(&job);
    }
    let disk = disk_of(flags)?;
    job.verbose(&format!("disk: {} ({} bytes)", disk.path.display(), disk.bytes));
    install(&job, &Destination::disk(disk, flags.force)?).map(drop)
}

/// The disk of the flags.
fn disk_of(flags: &Flags) -> Result<DiskFacts> {
    let observer = Observer::new(&flags.root)?;
    match &flags.device {
        Some(device) => Ok(observer.target(device)?),
        None if flags.smallest => {
            let majors = Majors { include: flags.include.clone(), exclude: flags.exclude.clone() };
            let disks = observer.disks()?;
            let found = smallest_unused(&disks, &majors).cloned();
            found.context("Could not find smallest disk to install (min. 10GB).")
        }
        None => Err(NoDevice.into()),
    }
}

/// Checks everything, then writes. `None` after a dry run.
pub fn install(job: &Job<'_>, destination: &Destination) -> Result<Option<Installed>> {
    let firmware = boot_entry::open(job, destination)?;
    let files = configuration::read(job.flags, job.root, &job.fetcher)?;
    check_files(&files)?;
    let addon = kernel_arguments::addon(job, destination)?;
    let filter = Filter::of(job.flags)?;
    if filter.is_some() && matches!(destination, Destination::Image { .. }) {
        bail!("--save-partlabel and --save-partindex are for disks: a disk image is replaced as a whole");
    }
    if job.flags.dry_run {
        job.report(&job.settings.print(job.flags));
        return Ok(None);
    }
    let source = Source::find(job)?;
    job.verbose(&format!("source: {}", source.name));
    source.verify_beforehand()?;
    let added = Added { files, addon };
    let (table, bytes) = write(job, &source, (destination, filter.as_ref()), &added)?;
    let path = destination.path().display();
    if let Some(firmware) = firmware {
        let added = boot_entry::add(&firmware, &job.settings, &table)
            .with_context(|| format!("the system is installed on {path}, without a boot entry"))?;
        job.report(&added);
    }
    job.report(&format!("Success! {} is installed on {path}", source.summary));
    Ok(Some(Installed { system: source.summary, bytes }))
}

/// What is written to the image's partitions.
struct Added {
    files: Vec<OemFile>,
    /// A program of the boot partition.
    addon: Option<Vec<u8>>,
}

impl Added {
    /// Fails if the image has no partition for it.
    fn check(&self, table: &ImageTable) -> Result<()> {
        if !self.files.is_empty() && part(table, OEM).is_none() {
            return Err(OemError::NoPartition.into());
        }
        if self.addon.is_some() && part(table, ESP).is_none() {
            return Err(BootPartitionError::NoPartition.into());
        }
        Ok(())
    }

    fn write(&self, job: &Job<'_>, table: &ImageTable, target: &mut DiskTarget) -> Result<(), FilesError> {
        if let (false, Some(oem)) = (self.files.is_empty(), part(table, OEM)) {
            if self.files.iter().any(|file| file.name == configuration::USER_DATA) {
                job.report("Installing cloud-config...");
            }
            job.verbose(&format!("OEM files: {:?}", self.files));
            write_files(&target.inherited_path(), oem.offset, &self.files)?;
        }
        if let (Some(addon), Some(esp)) = (&self.addon, part(table, ESP)) {
            job.report("Adding kernel arguments...");
            write_boot_file(target, (esp.offset, esp.bytes), ADDON, addon)?;
        }
        Ok(())
    }
}

/// Returns the table of the image, and the size of the disk.
fn write(
    job: &Job<'_>,
    source: &Source,
    (destination, filter): (&Destination, Option<&Filter<'_>>),
    added: &Added,
) -> Result<(ImageTable, u64)> {
    let verb = if source.is_remote() { "Downloading, writing and verifying" } else { "Writing" };
    job.report(&format!("{verb} {}...", source.name));
    let mut stream = ImageStream::new(source.open(&job.fetcher)?, source.verification.expected())?;
    // A size that is too small is refused afterwards, with both sizes.
    let mut installation = Installation::begin::<FilesError>(&mut stream, |table| {
        destination.bytes(table).max(table.needed_bytes())
    })?;
    let table = &installation.table;
    destination.check_size(table)?;
    source.check_usr(table)?;
    added.check(table)?;
    let mut opened = destination.open(table, job)?;
    let bytes = destination.bytes(table);
    let kept = filter.map(|filter| keep(job, filter, destination, &opened.target, &mut installation));
    let keeps = kept.transpose()?.unwrap_or(false);
    let mut progress = Progress::new();
    let add_files = |target: &mut DiskTarget| added.write(job, &installation.table, target);
    let mut report = |phase, done, total| {
        if !job.quiet {
            progress.report(phase, done, total);
        }
    };
    let target = &mut opened.target;
    disk_install::install(&installation, stream, target, ImageStream::verify, add_files, &mut report)
        .map_err(|error| destination.failed(error, keeps))?;
    destination.close(opened)?;
    Ok((installation.table, bytes))
}

/// Makes the installation keep what the flags select. Returns whether there is anything.
fn keep(
    job: &Job<'_>,
    filter: &Filter<'_>,
    destination: &Destination,
    target: &DiskTarget,
    installation: &mut Installation,
) -> Result<bool> {
    let Some(kept) = filter.read(target)? else {
        job.report("The disk has no partition that is to be kept.");
        return Ok(false);
    };
    let partitions: Vec<_> = kept.partitions().cloned().collect();
    installation.keep(target.length()?, &kept).map_err(refused)?;
    destination.check_root(&installation.table, &partitions)?;
    for Partition { number, label, .. } in &partitions {
        job.report(&format!("Keeping partition {number} ({label})"));
    }
    Ok(true)
}
