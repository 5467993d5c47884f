//! The order of writes: nothing on the disk is a partition table before everything else is verified.

use std::io::{self, Read};

use disk_slots::gpt::{
    FittedTable, HEAD, ImageTable, ImageTableError, KeepError, KeptPartitions, KeptTables, TableError,
};
use release::Digest;

use crate::image_stream::ImageError;
use crate::target::Target;

/// Bytes that are written, and later compared, as one. A divisor of [`EDGE`].
const CHUNK: usize = 1 << 20;
/// Bytes at both ends of a disk that are cleared first. Partition tables, the labels of LVM, RAID and encrypted volumes
/// and the superblocks of file systems are there.
const EDGE: u64 = 1 << 20;
/// Bytes of the backup table at the end of a disk.
const BACKUP: u64 = 33 * 512;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Why an installation failed. The disk does not boot, unless the error is [`InstallError::Table`] or
/// [`InstallError::OldTable`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum InstallError<F: std::error::Error + 'static> {
    #[error("cannot use the image")]
    ImageTable(#[from] ImageTableError),
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    #[error("the image ends after {0} bytes, and its partition table is for {1}")]
    Short(u64, u64),
    #[error("the image is longer than the {0} bytes that its partition table is for")]
    Long(u64),
    #[error("the image is not the expected one")]
    Unverified(#[source] ImageError),
    #[error("cannot write to the disk")]
    Write(#[source] io::Error),
    #[error("the disk returns other bytes than were written, at byte {0}: it is defective")]
    Defective(u64),
    #[error("cannot add files to the OEM partition")]
    Files(#[source] F),
    #[error("cannot replace the old partition table")]
    OldTable(#[source] TableError),
    #[error("cannot write the partition table")]
    Table(#[from] TableError),
}

/// What an installation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the image and writing it.
    Writing,
    /// Reading the disk.
    Verifying,
}

/// An image and the disk for it. The beginning of the image was read and fits.
#[derive(Debug)]
pub struct Installation {
    /// The image's table.
    pub table: ImageTable,
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
        let mut head = [0; HEAD];
        image.read_exact(&mut head).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => InstallError::ImageTable(ImageTableError::None),
            _ => InstallError::Read(error),
        })?;
        let table = ImageTable::parse(&head)?;
        let fitted = table.fit(length(&table))?;
        Ok(Self { table, fitted, kept: None })
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

/// What was written: zeros, or bytes with this digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Zeros,
    Data(Digest),
}

/// Writes the rest of `image`. `verify` is called at its end, `add_files` when the disk was compared with what was
/// written. `report` receives bytes of how many.
///
/// # Errors
/// Any failure leaves a disk without a partition table, or with one that has only the kept partitions, but for a failure
/// that comes from writing the table.
pub fn install<R: Read, T: Target, F: std::error::Error>(
    installation: &Installation,
    mut image: R,
    target: &mut T,
    verify: impl FnOnce(R) -> Result<(), ImageError>,
    add_files: impl FnOnce(&mut T) -> Result<(), F>,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    begin(installation, target)?;
    let chunks = copy(&installation.table, &mut image, target, report)?;
    verify(image).map_err(InstallError::Unverified)?;
    compare(&installation.table, &chunks, target, report)?;
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

/// Ranges from the primary table to the end of the last partition.
fn ranges(table: &ImageTable) -> impl Iterator<Item = (u64, usize)> {
    let (chunk, end) = (CHUNK as u64, table.content_bytes());
    (0..end.div_ceil(chunk)).map(move |number| {
        let (start, end) = ((number * chunk).max(HEAD as u64), ((number + 1) * chunk).min(end));
        (start, usize::try_from(end.saturating_sub(start)).unwrap_or(0))
    })
}

fn copy<F: std::error::Error>(
    table: &ImageTable,
    image: &mut impl Read,
    target: &mut impl Target,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<Vec<Chunk>, InstallError<F>> {
    let total = table.image_bytes();
    let mut chunks = Vec::new();
    let mut buffer = vec![0; CHUNK];
    for (offset, length) in ranges(table) {
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        fill(image, bytes, offset, total)?;
        chunks.push(if is_zero(bytes) {
            target.zero_at(offset, length as u64).map_err(InstallError::Write)?;
            Chunk::Zeros
        } else {
            target.write_at(bytes, offset).map_err(InstallError::Write)?;
            Chunk::Data(Digest::of(bytes))
        });
        report(Phase::Writing, offset + length as u64, total);
    }
    // Unused space, and the backup table, which belongs at the end of the disk.
    let mut at = table.content_bytes();
    while at < total {
        let length = usize::try_from(total - at).unwrap_or(usize::MAX).min(CHUNK);
        fill(image, buffer.get_mut(..length).unwrap_or_default(), at, total)?;
        at += length as u64;
    }
    if image.read(&mut [0]).map_err(InstallError::Read)? != 0 {
        return Err(InstallError::Long(total));
    }
    report(Phase::Writing, total, total);
    target.sync().map_err(InstallError::Write)?;
    Ok(chunks)
}

/// `bytes` are at most a chunk.
fn is_zero(bytes: &[u8]) -> bool {
    ZEROS.get(..bytes.len()).is_some_and(|zeros| zeros == bytes)
}

/// Fills `into` from the image at `offset`.
fn fill<F: std::error::Error>(
    image: &mut impl Read,
    into: &mut [u8],
    offset: u64,
    total: u64,
) -> Result<(), InstallError<F>> {
    let mut at = 0;
    while at < into.len() {
        match image.read(into.get_mut(at..).unwrap_or_default()) {
            Ok(0) => return Err(InstallError::Short(offset + at as u64, total)),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(InstallError::Read(error)),
        }
    }
    Ok(())
}

fn compare<F: std::error::Error>(
    table: &ImageTable,
    chunks: &[Chunk],
    target: &mut impl Target,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    target.forget_cache().map_err(InstallError::Write)?;
    let total = table.content_bytes();
    let mut buffer = vec![0; CHUNK];
    for ((offset, length), chunk) in ranges(table).zip(chunks) {
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        target.read_at(bytes, offset).map_err(InstallError::Write)?;
        let is_equal = match chunk {
            Chunk::Zeros => is_zero(bytes),
            Chunk::Data(digest) => Digest::of(bytes) == *digest,
        };
        if !is_equal {
            return Err(InstallError::Defective(offset));
        }
        report(Phase::Verifying, offset + length as u64, total);
    }
    Ok(())
}
