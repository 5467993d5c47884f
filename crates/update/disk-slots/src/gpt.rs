//! GUID partition tables (UEFI specification, 5.3): reads either copy, and changes the UUIDs of partitions such that
//! one copy is valid at any moment.
//!
//! The `gpt` crate writes both copies together and renumbers partitions, so it is used in tests only.

mod image_table;
mod kept;

use std::io;

use release::Digest;

pub use image_table::{FittedTable, HEAD, ImageTable, ImageTableError};
pub use kept::{KeepError, KeptPartitions, KeptTables};

use crate::disk::Disk;

/// In text order. On disk the first three fields are little-endian.
pub type Uuid = [u8; 16];

const SIGNATURE: &[u8; 8] = b"EFI PART";
const SECTOR_SIZES: [u64; 2] = [512, 4096];
const HEADER: usize = 92;
const ENTRY: usize = 128;
/// Usually 128.
const MOST_ENTRIES: u32 = 4096;

/// Why the partition table cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TableError {
    #[error("the disk has no valid partition table, neither primary nor backup")]
    None,
    #[error(
        "the primary and the backup partition table of the disk are valid, but belong to different disks"
    )]
    Mismatch,
    #[error("the disk has no partition {0}")]
    NoPartition(u32),
    #[error("cannot read the disk")]
    Read(#[source] io::Error),
    #[error("cannot write the partition table at {location} of the disk; the other copy is intact")]
    Write { location: &'static str, source: io::Error },
}

/// An entry of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// From 1.
    pub number: u32,
    /// Such as `USR-A`.
    pub label: String,
    /// The partition's own UUID, not its type's.
    pub uuid: Uuid,
    /// From the start of the disk, in bytes.
    pub offset: u64,
    /// Size.
    pub bytes: u64,
}

/// A table, and its valid copies.
#[derive(Debug, Clone)]
pub struct Table {
    sector: u64,
    first: Option<TableCopy>,
    last: Option<TableCopy>,
    partitions: Vec<Partition>,
}

/// One copy as on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TableCopy {
    /// The header's sector.
    header: Vec<u8>,
    entries: Vec<u8>,
}

impl Table {
    /// In the order of the table's entries.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Whether both copies are valid and equal.
    #[must_use]
    pub fn is_redundant(&self) -> bool {
        matches!((&self.first, &self.last), (Some(first), Some(last)) if first.entries == last.entries)
    }
}

/// Reads the table from the primary copy, or else from the backup, as kernel and firmware do.
pub fn read(disk: &impl Disk) -> Result<Table, TableError> {
    let length = disk.length().map_err(TableError::Read)?;
    for sector in SECTOR_SIZES {
        let end = (length / sector).saturating_sub(1);
        let first = read_copy(disk, sector, 1, length)?;
        let location = first.as_ref().map_or(end, TableCopy::alternate_sector);
        let last = read_copy(disk, sector, location, length)?;
        let Some(copy) = first.as_ref().or(last.as_ref()) else { continue };
        if let (Some(first), Some(last)) = (&first, &last)
            && first.disk() != last.disk()
        {
            return Err(TableError::Mismatch);
        }
        let partitions = copy.partitions(sector);
        return Ok(Table { sector, first, last, partitions });
    }
    Err(TableError::None)
}

/// Changes UUIDs of partitions by number, and repairs a damaged copy.
///
/// At most one copy is incomplete at a time: writes the damaged one first, else the backup, and the other one only
/// after that is durable.
pub fn set_uuids(disk: &mut impl Disk, table: &Table, changes: &[(u32, Uuid)]) -> Result<(), TableError> {
    let valid = table.first.as_ref().or(table.last.as_ref()).ok_or(TableError::None)?;
    let mut entries = valid.entries.clone();
    for (number, uuid) in changes {
        let at = usize::try_from(*number).ok().and_then(|number| number.checked_sub(1));
        let entry = at.and_then(|at| entries.chunks_exact_mut(valid.entry_size()).nth(at));
        let field = entry.and_then(|entry| entry.get_mut(16..32)).ok_or(TableError::NoPartition(*number))?;
        field.copy_from_slice(&swap_byte_order(*uuid));
    }
    let end = disk.length().map_err(TableError::Read)? / table.sector - 1;
    let last = table.last.clone().unwrap_or_else(|| valid.mirror(end, table.sector));
    let first = table.first.clone().unwrap_or_else(|| valid.mirror(1, table.sector));
    let order = if table.first.is_none() {
        [(first, "the beginning"), (last, "the end")]
    } else {
        [(last, "the end"), (first, "the beginning")]
    };
    for (copy, location) in order {
        copy.with_entries(entries.clone())
            .write(disk, table.sector)
            .map_err(|source| TableError::Write { location, source })?;
    }
    Ok(())
}

/// The UUIDs of a slot's partitions for `/usr` and its hash tree, derived from the root hash.
#[must_use]
pub fn uuids(root_hash: Digest) -> [Uuid; 2] {
    let mut uuids = [[0; 16]; 2];
    let (first, second) = root_hash.0.split_at(16);
    uuids[0].copy_from_slice(first);
    uuids[1].copy_from_slice(second);
    uuids
}

/// The inverse of [`uuids`].
#[must_use]
pub fn root_hash(usr: Uuid, verity: Uuid) -> Digest {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&usr);
    bytes[16..].copy_from_slice(&verity);
    Digest(bytes)
}

/// Converts between text and disk order.
#[must_use]
pub fn swap_byte_order(uuid: Uuid) -> Uuid {
    let mut other = uuid;
    other[..4].reverse();
    other[4..6].reverse();
    other[6..8].reverse();
    other
}

/// The copy whose header is in sector `place`; `None` if it is invalid.
fn read_copy(
    disk: &impl Disk,
    sector: u64,
    location: u64,
    length: u64,
) -> Result<Option<TableCopy>, TableError> {
    let Some(header) = read_range(disk, location.saturating_mul(sector), sector, length)? else {
        return Ok(None);
    };
    let copy = TableCopy { header, entries: Vec::new() };
    let mut header_bytes = copy.header.get(..HEADER).unwrap_or_default().to_vec();
    if !header_bytes.starts_with(SIGNATURE) || copy.field32(12) != 92 || copy.field64(24) != location {
        return Ok(None);
    }
    header_bytes[16..20].fill(0);
    let (count, size) = (copy.field32(80), copy.field32(84));
    let sizes_fit = count <= MOST_ENTRIES && (128..=4096).contains(&size) && size % 128 == 0;
    if crc32fast::hash(&header_bytes) != copy.field32(16) || !sizes_fit {
        return Ok(None);
    }
    let offset = copy.field64(72).saturating_mul(sector);
    let entries = read_range(disk, offset, u64::from(count) * u64::from(size), length)?;
    Ok(entries
        .filter(|entries| crc32fast::hash(entries) == copy.field32(88))
        .map(|entries| TableCopy { entries, ..copy }))
}

/// `None` beyond the end of the disk.
fn read_range(disk: &impl Disk, offset: u64, bytes: u64, length: u64) -> Result<Option<Vec<u8>>, TableError> {
    if offset.checked_add(bytes).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let mut into = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    disk.read_at(&mut into, offset).map_err(TableError::Read)?;
    Ok(Some(into))
}

impl TableCopy {
    fn field32(&self, at: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|byte| self.header.get(at + byte).copied().unwrap_or(0)))
    }

    fn field64(&self, at: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|byte| self.header.get(at + byte).copied().unwrap_or(0)))
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.header.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    /// Sector of the other copy's header.
    fn alternate_sector(&self) -> u64 {
        self.field64(32)
    }

    /// The disk's UUID.
    fn disk(&self) -> Option<&[u8]> {
        self.header.get(56..72)
    }

    fn entry_size(&self) -> usize {
        usize::try_from(self.field32(84)).unwrap_or(ENTRY).max(ENTRY)
    }

    fn partitions(&self, sector: u64) -> Vec<Partition> {
        let mut partitions = Vec::new();
        for (number, entry) in (1..).zip(self.entries.chunks_exact(self.entry_size())) {
            let Some((kind, rest)) = entry.split_first_chunk::<16>() else { break };
            if kind.iter().all(|byte| *byte == 0) {
                continue;
            }
            let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| rest[at + byte]));
            let (first, last) = (field(16), field(24));
            let uuid: Uuid = std::array::from_fn(|byte| rest[byte]);
            let units = rest[40..112].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            let label = char::decode_utf16(units.take_while(|unit| *unit != 0));
            partitions.push(Partition {
                number,
                label: label.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
                uuid: swap_byte_order(uuid),
                offset: first.saturating_mul(sector),
                bytes: last.saturating_add(1).saturating_sub(first).saturating_mul(sector),
            });
        }
        partitions
    }

    /// The same table for the other location, with its header in sector `place`.
    fn mirror(&self, location: u64, sector: u64) -> Self {
        let sectors = u64::try_from(self.entries.len()).unwrap_or(0).div_ceil(sector);
        let entries_at = if location == 1 { 2 } else { location - sectors };
        let mut other = self.clone();
        other.set(24, &location.to_le_bytes());
        other.set(32, &self.field64(24).to_le_bytes());
        other.set(72, &entries_at.to_le_bytes());
        other
    }

    /// Replaces the entries and updates the checksums.
    fn with_entries(mut self, entries: Vec<u8>) -> Self {
        self.set(88, &crc32fast::hash(&entries).to_le_bytes());
        self.set(16, &[0; 4]);
        let sum = crc32fast::hash(self.header.get(..HEADER).unwrap_or_default());
        self.set(16, &sum.to_le_bytes());
        self.entries = entries;
        self
    }

    /// Writes the entries first: the copy is invalid until its header is written.
    fn write(&self, disk: &mut impl Disk, sector: u64) -> io::Result<()> {
        disk.write_at(&self.entries, self.field64(72).saturating_mul(sector))?;
        disk.sync()?;
        disk.write_at(&self.header, self.field64(24).saturating_mul(sector))?;
        disk.sync()
    }
}
