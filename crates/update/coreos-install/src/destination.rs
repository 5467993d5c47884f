//! Where the system is written to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use disk_install::check::{DiskFacts, Kind, Refusal, check, check_root, check_size};
use disk_install::{DiskTarget, FilesError, InstallError, Observer, Releaser};
use disk_slots::gpt::{ImageTable, Partition, read};
use disk_slots::{Disk, DiskFile};
use tempfile::NamedTempFile;

use crate::job::Job;

/// For a disk that is part of RAID arrays and LVM only.
const FORCE_HINT: &str = " --force stops these, and replaces what this disk has of them. Arrays and volume groups with other disks are incomplete then.";

/// A disk that may be written, or a disk image.
#[derive(Debug)]
pub enum Destination {
    /// A disk, or a regular file that is one: written in place.
    Disk(DiskFacts),
    /// A file that has its name only when it is complete.
    Image {
        /// As given.
        path: PathBuf,
        /// Size; that of the image if there is none.
        bytes: Option<u64>,
        /// Whether a file of this name is replaced.
        replaces: bool,
    },
}

/// A destination that is being written.
pub(crate) struct Opened {
    pub target: DiskTarget,
    file: Option<NamedTempFile>,
}

impl Destination {
    /// A disk that nothing uses, below the root of the running system. With `force` it may be part of RAID arrays and LVM
    /// that nothing uses: they are stopped when it is opened for writing.
    pub fn disk(disk: DiskFacts, force: bool) -> Result<Self> {
        let is_released = |refusal: &Refusal| {
            force && matches!(refusal, Refusal::InUse { uses, .. } if Releaser::can(uses))
        };
        let refusals: Vec<_> = check(&disk).into_iter().filter(|refusal| !is_released(refusal)).collect();
        let may_force =
            |refusal: &Refusal| matches!(refusal, Refusal::InUse { uses, .. } if Releaser::can(uses));
        let hint = if refusals.iter().any(may_force) { FORCE_HINT } else { "" };
        let refusals: Vec<_> = refusals.iter().map(ToString::to_string).collect();
        if !refusals.is_empty() {
            bail!("{}{hint}", refusals.join("\n"));
        }
        Ok(Self::Disk(disk))
    }

    /// A block device, or a disk image of `bytes` to be created. `force` replaces an existing one, whose size it keeps.
    pub fn of_path(path: &Path, bytes: Option<u64>, force: bool) -> Result<Self> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::Image { path: path.to_owned(), bytes, replaces: false });
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let observer = Observer::new(Path::new("/"))?;
        if !found.is_file() {
            if bytes.is_some() {
                bail!("--size is for disk images: {} exists, and is no file", path.display());
            }
            return Self::disk(observer.target(path)?, force);
        }
        let is_image = DiskFile::read_only(path).is_ok_and(|disk| read(&disk).is_ok());
        if !is_image {
            bail!("{} exists, and is no disk image: choose another name, or remove it", path.display());
        }
        if !force {
            bail!("{} exists; --force replaces the disk image", path.display());
        }
        // The checks find a loop device on it, and a file that may not be written.
        Self::disk(observer.target(path)?, false)?;
        Ok(Self::Image { path: path.to_owned(), bytes: bytes.or(Some(found.len())), replaces: true })
    }

    /// The device node, or the file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Disk(disk) => &disk.path,
            Self::Image { path, .. } => path,
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        !matches!(self, Self::Disk(disk) if disk.kind != Kind::File)
    }

    /// Bytes that it has, or will have.
    pub(crate) fn bytes(&self, table: &ImageTable) -> u64 {
        match self {
            Self::Disk(disk) => disk.bytes,
            Self::Image { bytes, .. } => bytes.unwrap_or_else(|| table.image_bytes()),
        }
    }

    /// Fails if the image does not fit.
    pub(crate) fn check_size(&self, table: &ImageTable) -> Result<()> {
        match self {
            Self::Disk(disk) => Ok(check_size(disk, table.needed_bytes())?),
            Self::Image { path, .. } if self.bytes(table) < table.needed_bytes() => bail!(
                "{} would be too small: it has {} bytes, and the system needs {}. --size sets another size",
                path.display(),
                self.bytes(table),
                table.needed_bytes()
            ),
            Self::Image { .. } => Ok(()),
        }
    }

    /// Fails if the first boot has no space for ROOT. A file can still grow.
    pub(crate) fn check_root(&self, table: &ImageTable, kept: &[Partition]) -> Result<()> {
        match self {
            Self::Disk(disk) if disk.kind != Kind::File => Ok(check_root(disk, table.content_bytes(), kept)?),
            Self::Disk(_) | Self::Image { .. } => Ok(()),
        }
    }

    /// Adds what a failure leaves. `keeps`: partitions of the disk.
    pub(crate) fn failed(&self, error: InstallError<FilesError>, keeps: bool) -> anyhow::Error {
        let path = self.path().display();
        let left = match self {
            // One of its copies may be valid.
            Self::Disk(_) if matches!(error, InstallError::Table(_) | InstallError::OldTable(_)) => {
                return error.into();
            }
            Self::Disk(_) if keeps => format!("{path} has only the kept partitions now, and does not boot"),
            Self::Disk(_) => format!("{path} has no partition table now, and does not boot"),
            Self::Image { replaces: true, .. } => format!("{path} is as it was"),
            Self::Image { .. } => format!("{path} was not created"),
        };
        anyhow::Error::new(error).context(left)
    }

    /// Opens it for writing, and stops what is on the disk before.
    pub(crate) fn open(&self, table: &ImageTable, job: &Job<'_>) -> Result<Opened> {
        let root = job.root;
        match self {
            Self::Disk(disk) => {
                let left = || format!("{} is as it was", disk.path.display());
                let report = |line: &str| job.report(line);
                Releaser::new(root).release(&disk.uses, &report).with_context(left)?;
                let target = DiskTarget::open(&disk.path).map_err(|error| busy(root, &disk.path, error))?;
                if target.length()? != disk.bytes {
                    bail!("{} changed its size; start again", disk.path.display());
                }
                Ok(Opened { target, file: None })
            }
            Self::Image { path, .. } => {
                let failed = || format!("cannot create {}", path.display());
                let file = tempfile::Builder::new()
                    .prefix(".keelson-install-")
                    .tempfile_in(folder(path))
                    .with_context(failed)?;
                file.as_file().set_len(self.bytes(table)).with_context(failed)?;
                let target = DiskTarget::open(file.path()).with_context(failed)?;
                Ok(Opened { target, file: Some(file) })
            }
        }
    }

    /// Makes what was written durable under its name.
    pub(crate) fn close(&self, opened: Opened) -> Result<()> {
        let Opened { target, file } = opened;
        let Some(file) = file else { return Ok(target.reread_partitions()?) };
        let path = self.path();
        let failed = || format!("cannot create {}", path.display());
        file.as_file().sync_all().with_context(failed)?;
        match self {
            Self::Image { replaces: true, .. } => file.persist(path),
            _ => file.persist_noclobber(path),
        }
        .map_err(|error| error.error)
        .with_context(failed)?;
        File::open(folder(path)).and_then(|folder| folder.sync_all()).with_context(failed)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `EBUSY` although the checks passed: the disk came into use since, or by what has no holder in sysfs.
fn busy(root: &Path, path: &Path, error: io::Error) -> anyhow::Error {
    let found = Observer::new(root).and_then(|observer| observer.target(path));
    match found.map(|disk| check(&disk)).ok().and_then(|refusals| refusals.into_iter().next()) {
        Some(refusal) => refusal.into(),
        None => anyhow::Error::new(error).context(format!("cannot open {} for writing", path.display())),
    }
}
