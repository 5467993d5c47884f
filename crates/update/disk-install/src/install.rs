//! The order of writes: nothing on the disk is a partition table before everything else is verified.

use std::io::{self, Read};

use disk_slots::gpt::{
    FittedTable, HEAD, ImageTable, ImageTableError, KeepError, KeptPartitions, KeptTables,
};
use release::Digest;

use crate::compare::compare;
use crate::copy::{Phase, copy};
use crate::image_stream::ImageError;
use crate::install_error::InstallError;
use crate::target::Target;

/// Bytes at both ends of a disk that are cleared first. Partition tables, the labels of LVM, RAID and encrypted volumes
/// and the superblocks of file systems are there.
const EDGE: u64 = 1 << 20;
/// Bytes of the backup table at the end of a disk.
const BACKUP: u64 = 33 * 512;

/// An image and the disk for it. The beginning of the image was read and fits.
#[derive(Debug)]
pub struct Installation {
    /// The image's table.
    pub table: ImageTable,
    /// The beginning of the image.
    head: Box<[u8; HEAD]>,
    fitted: FittedTable,
    kept: Option<KeptTables>,
}

impl Installation {
    /// Reads the beginning of an image and lays out its table for a disk of `length` bytes.
    ///
    /// # Errors
    /// The image is not one, or does not fit.
    pub fn begin<F: std::error::Error>(
        image: &mut impl Read,
        length: impl FnOnce(&ImageTable) -> u64,
    ) -> Result<Self, InstallError<F>> {
        let mut head = Box::new([0; HEAD]);
        image.read_exact(&mut *head).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => InstallError::ImageTable(ImageTableError::None),
            _ => InstallError::Read(error),
        })?;
        let table = ImageTable::parse(&head)?;
        let fitted = table.fit(length(&table))?;
        Ok(Self { table, head, fitted, kept: None })
    }

    /// Keeps partitions of a disk of `length` bytes, whatever happens. They must be those of the disk that is installed to.
    ///
    /// # Errors
    /// They cannot be kept beside the image.
    pub fn keep(&mut self, length: u64, kept: &KeptPartitions) -> Result<(), KeepError> {
        self.kept = Some(self.table.fit_with(length, kept)?);
        Ok(())
    }
}

/// Writes the rest of `image`. `verify` is called at its end, with the [`ChunkedDigest`](release::ChunkedDigest) of all of it;
/// `add_files` when the disk was compared with what was written. `report` receives bytes of how many.
///
/// # Errors
/// Any failure leaves a disk without a partition table, or with one that has only the kept partitions, but for a failure
/// that comes from writing the table.
pub fn install<R: Read, T: Target + Send + Sync, F: std::error::Error>(
    installation: &Installation,
    mut image: R,
    target: &mut T,
    verify: impl FnOnce(R, &Digest) -> Result<(), ImageError>,
    add_files: impl FnOnce(&mut T) -> Result<(), F>,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    begin(installation, target)?;
    let copied = copy(&installation.table, &installation.head, &mut image, target, report)?;
    verify(image, &copied.digest).map_err(InstallError::Unverified)?;
    compare(&copied.ranges, target, report)?;
    add_files(target).map_err(InstallError::Files)?;
    target.sync().map_err(InstallError::Write)?;
    match &installation.kept {
        Some(tables) => Ok(tables.finish(target)?),
        None => Ok(installation.fitted.write(target)?),
    }
}

/// Leaves a disk without a table, or with one of the kept partitions only.
fn begin<F: std::error::Error>(
    installation: &Installation,
    target: &mut impl Target,
) -> Result<(), InstallError<F>> {
    let cleared = match &installation.kept {
        Some(tables) => {
            tables.begin(target).map_err(InstallError::OldTable)?;
            clear_around(tables, target)
        }
        None => clear_ends(target),
    };
    cleared.map_err(InstallError::Write)
}

fn clear_ends(target: &mut impl Target) -> io::Result<()> {
    let length = target.length()?;
    target.zero_at(0, EDGE.min(length))?;
    target.zero_at(length.saturating_sub(EDGE), EDGE.min(length))?;
    target.sync()
}

/// Clears both ends, but for both copies of the table and the kept partitions.
fn clear_around(tables: &KeptTables, target: &mut impl Target) -> io::Result<()> {
    let length = target.length()?;
    let mut kept: Vec<_> = tables
        .partitions()
        .iter()
        .map(|part| (part.offset, part.offset.saturating_add(part.bytes)))
        .collect();
    kept.sort_unstable();
    let (head, first) = (HEAD as u64, kept.first().map_or(EDGE, |(start, _)| EDGE.min(*start)));
    target.zero_at(head, first.saturating_sub(head))?;
    let end = length.saturating_sub(BACKUP);
    let mut at = length.saturating_sub(EDGE);
    for (start, after) in kept.into_iter().chain([(end, end)]) {
        if start > at {
            target.zero_at(at, start - at)?;
        }
        at = at.max(after);
    }
    target.sync()
}
