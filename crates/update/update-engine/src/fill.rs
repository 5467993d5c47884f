//! Writes the images of a release to a slot and the boot partition.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use disk_slots::gpt::Partition;
use omaha::ErrorCode;
use payload::verity::{Parameters, Tree, VerityError};
use payload::{
    Apply, ApplyError, DirectReader, Expected, GrowingFile, ImageTarget, Index, ReadAt, ReadBackError,
    Target, apply, read_back, read_back_tree, sync_and_drop_cache,
};
use release::{Digest, Payload, Release};
use update_core::method::Method;
use update_core::status::Operation;
use update_worker::{Isolation, Unpacker};

use crate::error::{Failure, Kind, code};
use crate::observer::Observer;
use crate::origin::Origin;

/// Attempts to fetch a payload, each from the next URL of the server.
const ATTEMPTS: usize = 3;

/// A partition: its device node, or a range of a disk image.
#[derive(Debug)]
pub struct Slot {
    path: PathBuf,
    file: File,
    offset: u64,
    bytes: u64,
}

impl Slot {
    /// Uses `device`, the partition's node, if it exists.
    pub fn open(device: &Path, disk: &Path, partition: &Partition) -> io::Result<Self> {
        let (path, offset) = if device.exists() { (device, 0) } else { (disk, partition.offset) };
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self { path: path.to_owned(), file, offset, bytes: partition.bytes })
    }

    /// Opens or creates a file of `bytes` bytes. Keeps its content.
    pub fn file(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(bytes)?;
        Ok(Self { path: path.to_owned(), file, offset: 0, bytes })
    }

    /// Reads from the disk, bypassing the page cache if possible.
    fn reader(&self) -> io::Result<impl Read> {
        let mut from = DirectReader::open(&self.path)?;
        io::copy(&mut from.by_ref().take(self.offset), &mut io::sink())?;
        Ok(from)
    }
}

impl ReadAt for Slot {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.offset + offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        Some((self.file.as_fd(), self.offset))
    }
}

impl Target for Slot {
    fn capacity(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, self.offset + offset)
    }

    /// After a write error the next attempt must not read unwritten data from the page cache.
    fn sync(&self) -> io::Result<()> {
        sync_and_drop_cache(&self.file)
    }

    fn finish(&self, _size: u64) -> io::Result<()> {
        self.sync()
    }
}

/// Destinations of a release, and the images that a delta reads.
pub struct Targets<'a> {
    pub usr: &'a Slot,
    pub verity: &'a Slot,
    /// The temporary file of the boot image.
    pub uki: &'a Path,
    /// The running version, for a delta.
    pub old: Option<OldImages<'a>>,
}

/// Images of an older version.
#[derive(Clone, Copy)]
pub struct OldImages<'a> {
    pub usr: &'a Slot,
    pub uki: &'a Path,
}

/// Where a release comes from, and what becomes of its bytes before they are verified.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    pub origin: &'a Origin,
    pub isolation: &'a Isolation,
    /// Reuse what an earlier attempt wrote.
    pub resume: bool,
}

/// Writes the images and reads them back.
pub fn fill(
    release: &Release,
    method: Method<'_>,
    delivery: Delivery<'_>,
    targets: &Targets<'_>,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let uki = GrowingFile::open(targets.uki).map_err(|error| write_failed("the new boot image", &error))?;
    download(method, release, delivery, targets, &uki, observer)?;
    drop(uki);
    observer.operation(Operation::Verifying);
    let tree = read_images(release, targets, observer)?;
    observer.operation(Operation::Finalizing);
    tree.write(targets.verity).map_err(|error| tree_failed(&error))?;
    compare_tree(&tree, targets)
}

/// Verifies that the images match the release.
pub fn verify_images(
    release: &Release,
    targets: &Targets<'_>,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    compare_tree(&read_images(release, targets, observer)?, targets)
}

/// Reads both images back. Returns the verified hash tree of `usr`.
fn read_images(release: &Release, targets: &Targets<'_>, observer: &dyn Observer) -> Result<Tree, Failure> {
    let images = &release.images;
    let parameters = Parameters::of(&images.verity).map_err(|error| {
        let message = format!("release.json: {}", service::error::chain(&error));
        Failure::text(Kind::Rejected, code::MANIFEST, message)
    })?;
    let usr = Expected { role: "usr", size: images.usr.size, digest: images.verity.root_hash };
    let uki = Expected { role: "uki", size: images.uki.size, digest: images.uki.sha256 };
    let mut continue_unless_cancelled = |_| !observer.cancelled();
    let from = targets.usr.reader().map_err(|error| write_failed("the slot", &error))?;
    let tree =
        read_back_tree(&usr, &parameters, from, &mut continue_unless_cancelled).map_err(not_verified)?;
    let from = DirectReader::open(targets.uki).map_err(|error| write_failed("the new boot image", &error))?;
    read_back(&uki, from, &mut continue_unless_cancelled).map_err(not_verified)?;
    Ok(tree)
}

fn compare_tree(tree: &Tree, targets: &Targets<'_>) -> Result<(), Failure> {
    let from = targets.verity.reader().map_err(|error| write_failed("the slot's hash tree", &error))?;
    tree.compare(from).map_err(|error| tree_failed(&error))
}

fn tree_failed(error: &VerityError) -> Failure {
    Failure::new(Kind::Machine, ErrorCode::NEW_ROOTFS_VERIFICATION, error)
}

fn download(
    method: Method<'_>,
    release: &Release,
    delivery: Delivery<'_>,
    targets: &Targets<'_>,
    uki: &GrowingFile,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let Delivery { origin, isolation, mut resume } = delivery;
    let index = fetch_index(origin, method.payload(), release)?;
    let full = match method {
        Method::Full(_) => None,
        Method::Delta(_) => Some(fetch_index(origin, &release.full, release)?),
    };
    let old = targets.old.filter(|_| full.is_some());
    let old_uki = old.and_then(|old| File::open(old.uki).ok());
    let parts = [
        ImageTarget { role: "usr", target: targets.usr, old: old.map(|old| old.usr as &dyn ReadAt) },
        ImageTarget { role: "uki", target: uki, old: old_uki.as_ref().map(|old| old as &dyn ReadAt) },
    ];
    let cancelled = || observer.cancelled();
    let mut blob = origin.blob(&method.payload().blob.url, &cancelled);
    let mut full_blob = origin.blob(&release.full.blob.url, &cancelled);
    let mut unpacker = Unpacker::new(isolation);
    for attempt in 1.. {
        let work = Apply {
            index: &index,
            blob: &mut blob,
            full: full.as_ref().map(|index| (index, &mut full_blob as &mut dyn payload::Source)),
            parts: &parts,
            unpacker: &mut unpacker,
            resume,
            progress: &mut |progress| observer.progress(progress.fetched, progress.to_fetch),
            cancelled: &cancelled,
        };
        match apply(work) {
            Ok(applied) => {
                tracing::info!(
                    fetched = applied.fetched,
                    kept = applied.kept,
                    written = applied.written,
                    replaced = applied.replaced,
                    "payload written to disk"
                );
                return Ok(());
            }
            Err(_) if observer.cancelled() => return Err(apply_failed(&ApplyError::Cancelled)),
            Err(
                error @ (ApplyError::Transfer { .. }
                | ApplyError::WrongHash { .. }
                | ApplyError::Unpack { .. }),
            ) if attempt < ATTEMPTS => {
                tracing::warn!(error = service::error::chain(&error), "retrying the payload");
                blob.next_base();
                full_blob.next_base();
                resume = true;
            }
            Err(error) => return Err(apply_failed(&error)),
        }
    }
    Ok(())
}

fn fetch_index(origin: &Origin, payload: &Payload, release: &Release) -> Result<Index, Failure> {
    let bytes = origin.file(payload.index.url.as_str(), payload.index.size)?;
    let digest = Digest::of(&bytes);
    let refused = |message: String| Failure::text(Kind::Rejected, ErrorCode::PAYLOAD_HASH_MISMATCH, message);
    if digest != payload.index.sha256 || bytes.len() as u64 != payload.index.size {
        return Err(refused(format!("{} does not match its signed hash", payload.index.url)));
    }
    let index = Index::parse(&bytes).map_err(|error| refused(service::error::chain(&error)))?;
    // Both are signed with the same key: a mismatch is a mistake in the release.
    let images_match =
        [("usr", &release.images.usr), ("uki", &release.images.uki)].iter().all(|(role, image)| {
            index.image(role).is_some_and(|found| (found.size, found.sha256) == (image.size, image.sha256))
        });
    if index.images.len() != 2 || !images_match {
        return Err(refused(format!("{} describes other images than release.json", payload.index.url)));
    }
    Ok(index)
}

fn apply_failed(error: &ApplyError) -> Failure {
    let (kind, code) = match error {
        ApplyError::Transfer { .. } | ApplyError::Unpack { .. } => {
            (Kind::Transient, ErrorCode::DOWNLOAD_TRANSFER)
        }
        ApplyError::WrongHash { .. } => (Kind::Rejected, ErrorCode::PAYLOAD_HASH_MISMATCH),
        ApplyError::OldDamaged { .. } => (Kind::Transient, ErrorCode::PAYLOAD_VERIFICATION),
        ApplyError::Write { .. } => (Kind::Machine, ErrorCode::DOWNLOAD_WRITE),
        ApplyError::InvalidTargets { .. } | ApplyError::TooSmall { .. } => {
            (Kind::Rejected, code::INSTALL_DEVICE)
        }
        ApplyError::Cancelled => (Kind::Cancelled, code::GENERIC),
    };
    Failure::new(kind, code, error)
}

fn not_verified(error: ReadBackError) -> Failure {
    let kind = if matches!(error, ReadBackError::Cancelled) { Kind::Cancelled } else { Kind::Machine };
    Failure::new(kind, ErrorCode::NEW_ROOTFS_VERIFICATION, &error)
}

pub fn write_failed(what: &str, error: &io::Error) -> Failure {
    Failure::text(Kind::Machine, ErrorCode::DOWNLOAD_WRITE, format!("cannot open {what}: {error}"))
}
