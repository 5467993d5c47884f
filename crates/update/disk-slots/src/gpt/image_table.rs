//! The table of a disk image, laid out again for a disk of another size: the backup copy belongs at the end of the disk
//! that has it.

use std::io;

use super::{Partition, TableCopy, TableError, read_copy};
use crate::disk::Disk;

pub(super) const SECTOR: u64 = 512;
/// Protective MBR, header and 128 entries: the first bytes of an image, before its first partition.
pub const HEAD: usize = 34 * SECTOR as usize;
/// Sectors of the backup copy: entries and header.
pub(super) const BACKUP_SECTORS: u64 = 33;
const ENTRIES_BYTES: usize = 32 * SECTOR as usize;
/// Offset of the first record in the protective MBR, and its type.
pub(super) const MBR_RECORD: usize = 446;
const MBR_GPT: u8 = 0xee;

/// Why an image's table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ImageTableError {
    #[error("the image does not begin with a partition table (GPT, 512-byte sectors): it is no disk image")]
    None,
    #[error("the image has no partitions")]
    Empty,
    #[error("the image's partition table has {0} bytes of entries instead of {ENTRIES_BYTES}")]
    Entries(usize),
    #[error("partition {number} ({label}) of the image is outside of the image, or overlaps another one")]
    Partition { number: u32, label: String },
    #[error("the partitions need {needed} bytes, and the disk has {present}")]
    Small { needed: u64, present: u64 },
}

/// The table at the beginning of a disk image.
#[derive(Debug, Clone)]
pub struct ImageTable {
    pub(super) mbr: Vec<u8>,
    pub(super) copy: TableCopy,
    partitions: Vec<Partition>,
    bytes: u64,
}

impl ImageTable {
    /// Parses the first [`HEAD`] bytes of an image. Its length is the table's, since the stream of an image may have
    /// none.
    ///
    /// # Errors
    /// There is no valid table, or its partitions are not within the image.
    pub fn parse(head: &[u8; HEAD]) -> Result<Self, ImageTableError> {
        let read = read_copy(&HeadOfImage(head), SECTOR, 1, HEAD as u64);
        let copy = read.ok().flatten().ok_or(ImageTableError::None)?;
        if copy.entries.len() != ENTRIES_BYTES {
            return Err(ImageTableError::Entries(copy.entries.len()));
        }
        let bytes = copy.alternate_sector().saturating_add(1).saturating_mul(SECTOR);
        let partitions = copy.partitions(SECTOR);
        if partitions.is_empty() {
            return Err(ImageTableError::Empty);
        }
        let end = bytes.saturating_sub(BACKUP_SECTORS * SECTOR);
        let mut ordered: Vec<_> = partitions.iter().collect();
        ordered.sort_by_key(|part| part.offset);
        let mut free = HEAD as u64;
        for part in ordered {
            let last = part.offset.saturating_add(part.bytes);
            if part.offset < free || part.bytes == 0 || last > end {
                let label = part.label.clone();
                return Err(ImageTableError::Partition { number: part.number, label });
            }
            free = last;
        }
        let mbr = head.get(..SECTOR as usize).unwrap_or_default().to_vec();
        Ok(Self { mbr, copy, partitions, bytes })
    }

    /// Size of the image in bytes, from its table.
    #[must_use]
    pub fn image_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes from the start of the image to the end of the last partition.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        let ends = self.partitions.iter().map(|part| part.offset.saturating_add(part.bytes));
        ends.max().unwrap_or(HEAD as u64)
    }

    /// In the order of the table's entries.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Size of the smallest disk: the content, and the backup table behind it.
    #[must_use]
    pub fn needed_bytes(&self) -> u64 {
        self.content_bytes().saturating_add(BACKUP_SECTORS * SECTOR)
    }

    /// Both copies and the protective MBR for a disk of `length` bytes.
    ///
    /// # Errors
    /// The disk is too small.
    pub fn fit(&self, length: u64) -> Result<FittedTable, ImageTableError> {
        if length < self.needed_bytes() {
            return Err(ImageTableError::Small { needed: self.needed_bytes(), present: length });
        }
        Ok(FittedTable::new(&self.copy, &self.mbr, self.copy.entries.clone(), length))
    }
}

/// The image's boot code with one record, for the whole disk or as much as the record can have.
fn protective_mbr(image: &[u8], last: u64) -> Vec<u8> {
    let mut mbr = image.to_vec();
    mbr.resize(SECTOR as usize, 0);
    let sectors = u32::try_from(last).unwrap_or(u32::MAX);
    let mut records = [0; 66];
    records[1..4].copy_from_slice(&[0, 2, 0]);
    records[4] = MBR_GPT;
    records[5..8].fill(0xff);
    records[8] = 1;
    records[12..16].copy_from_slice(&sectors.to_le_bytes());
    records[64..].copy_from_slice(&[0x55, 0xaa]);
    mbr[MBR_RECORD..].copy_from_slice(&records);
    mbr
}

/// A table to be written to an empty disk.
#[derive(Debug, Clone)]
pub struct FittedTable {
    protective_mbr: Vec<u8>,
    primary: TableCopy,
    backup: TableCopy,
}

impl FittedTable {
    /// `header` with these entries, and `mbr`, for a disk of `length` bytes.
    pub(super) fn new(header: &TableCopy, mbr: &[u8], entries: Vec<u8>, length: u64) -> Self {
        let last = length / SECTOR - 1;
        let mut primary = header.clone();
        primary.set(32, &last.to_le_bytes());
        primary.set(48, &(last - BACKUP_SECTORS).to_le_bytes());
        let primary = primary.with_entries(entries.clone());
        let backup = primary.mirror(last, SECTOR).with_entries(entries);
        Self { protective_mbr: protective_mbr(mbr, last), primary, backup }
    }

    /// Writes the backup copy, the protective MBR and the primary copy, each durable before the next. The disk has no
    /// table before the first header is written, and a complete one afterwards.
    ///
    /// # Errors
    /// A write.
    pub fn write(&self, disk: &mut impl Disk) -> Result<(), TableError> {
        self.write_backup(disk)?;
        self.write_primary(disk)
    }

    pub(super) fn write_backup(&self, disk: &mut impl Disk) -> Result<(), TableError> {
        let failed = |source| TableError::Write { location: "the end", source };
        self.backup.write(disk, SECTOR).map_err(failed)
    }

    /// The protective MBR, and the primary copy.
    pub(super) fn write_primary(&self, disk: &mut impl Disk) -> Result<(), TableError> {
        let failed = |source| TableError::Write { location: "the beginning", source };
        let mbr: io::Result<()> = disk.write_at(&self.protective_mbr, 0).and_then(|()| disk.sync());
        mbr.map_err(failed)?;
        self.primary.write(disk, SECTOR).map_err(failed)
    }
}

/// The beginning of an image as a disk, to be read only.
struct HeadOfImage<'a>(&'a [u8; HEAD]);

impl Disk for HeadOfImage<'_> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = start.checked_add(into.len()).and_then(|end| self.0.get(start..end));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(HEAD as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::disk::DiskFile;

    const MIB: u64 = 1 << 20;

    /// An image with two partitions, as another library writes its table.
    fn image() -> Vec<u8> {
        let device = Cursor::new(vec![0; 8 * MIB as usize]);
        let config =
            gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
        let mut table = config.create_from_device(device, None).unwrap();
        for (label, bytes) in [("EFI-SYSTEM", 2 * MIB), ("OEM", MIB)] {
            table.add_partition(label, bytes, gpt::partition_types::BASIC, 0, None).unwrap();
        }
        table.write().unwrap().into_inner()
    }

    fn head(image: &[u8]) -> [u8; HEAD] {
        image[..HEAD].try_into().unwrap()
    }

    #[test]
    fn a_table_is_laid_out_for_other_sizes() {
        let image = image();
        let table = ImageTable::parse(&head(&image)).unwrap();
        assert_eq!(table.image_bytes(), 8 * MIB);
        for length in [8 * MIB, 9 * MIB + 512, 64 * MIB, table.needed_bytes()] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(length).unwrap();
            table.fit(length).unwrap().write(&mut DiskFile::open(file.path()).unwrap()).unwrap();
            // Read by another library, which verifies both copies.
            let read = gpt::GptConfig::new().only_valid_headers(true).open(file.path()).unwrap();
            assert_eq!(read.backup_header().unwrap().current_lba, length / 512 - 1, "{length}");
            assert_eq!(read.primary_header().unwrap().last_usable, length / 512 - 34);
            let labels: Vec<_> = read.partitions().values().map(|part| part.name.clone()).collect();
            assert_eq!(labels, ["EFI-SYSTEM", "OEM"]);
            let own = super::super::read(&DiskFile::read_only(file.path()).unwrap()).unwrap();
            assert!(own.is_redundant());
            assert_eq!(own.partitions(), table.partitions());
            let mbr = &std::fs::read(file.path()).unwrap()[446..512];
            assert_eq!((mbr[4], &mbr[8..12], &mbr[64..]), (MBR_GPT, &[1, 0, 0, 0][..], &[0x55, 0xaa][..]));
            assert_eq!(mbr[12..16], u32::try_from(length / 512 - 1).unwrap().to_le_bytes());
        }
    }

    #[test]
    fn the_same_size_has_the_bytes_of_the_image() {
        let image = image();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, &image).unwrap();
        let table = ImageTable::parse(&head(&image)).unwrap();
        table.fit(8 * MIB).unwrap().write(&mut DiskFile::open(file.path()).unwrap()).unwrap();
        let written = std::fs::read(file.path()).unwrap();
        assert!(written[512..] == image[512..]);
    }

    #[test]
    fn a_small_disk_is_refused_with_both_sizes() {
        let table = ImageTable::parse(&head(&image())).unwrap();
        let needed = table.needed_bytes();
        let refused = table.fit(needed - 512).unwrap_err();
        assert_eq!(refused, ImageTableError::Small { needed, present: needed - 512 });
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let check = |change: &dyn Fn(&mut [u8]), expected: &str| {
            let mut image = image();
            change(&mut image);
            let refused = ImageTable::parse(&head(&image)).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        check(&|image| image[..HEAD].fill(0), "no disk image");
        check(&|image| image[1024 + 40] ^= 1, "no disk image");
        check(&|image| image[512 + 24] ^= 1, "no disk image");
        // A valid checksum of an entry that is out of bounds.
        let valid = |image: &mut [u8]| {
            let sum = crc32fast::hash(&image[1024..HEAD]).to_le_bytes();
            image[512 + 88..512 + 92].copy_from_slice(&sum);
            image[512 + 16..512 + 20].fill(0);
            let sum = crc32fast::hash(&image[512..512 + 92]).to_le_bytes();
            image[512 + 16..512 + 20].copy_from_slice(&sum);
        };
        for (at, value) in [(40, u64::MAX), (32, 3), (40, 40_000), (128 + 32, 2048)] {
            check(
                &|image| {
                    image[1024 + at..1024 + at + 8].copy_from_slice(&value.to_le_bytes());
                    valid(image);
                },
                "outside of the image, or overlaps",
            );
        }
        check(
            &|image| {
                image[1024..HEAD].fill(0);
                valid(image);
            },
            "has no partitions",
        );
    }
}
