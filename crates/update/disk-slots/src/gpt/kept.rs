//! Partitions that an installation keeps. The disk has a table with them at any moment: the old one, one with nothing else,
//! or that of the image with them added. All have the UUID of the old one, so that their copies are never of different disks.

use std::io;

use super::image_table::{BACKUP_SECTORS, MBR_RECORD, SECTOR};
use super::{ENTRY, FittedTable, ImageTable, Partition, Table, TableError, read};
use crate::disk::Disk;

/// Places in a header and in the boot record.
const DISK_UUID: usize = 56;
const MBR_SIGNATURE: [u8; 2] = [0x55, 0xaa];
const MBR_RECORDS: usize = 4;
const MBR_RECORD_BYTES: usize = 16;

/// Why partitions cannot be kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum KeepError {
    #[error("the disk has a partition table that is no valid GPT, so that no partition of it can be kept")]
    NoTable,
    #[error("no partition can be kept of a table for sectors of {0} bytes: the image's is for 512")]
    Sector(u64),
    #[error("no partition can be kept of a table whose entries have {0} bytes: the image's have 128")]
    Entry(usize),
    #[error(
        "partition {number} ({label}) cannot be kept: it begins at byte {offset}, and the image needs all up to {needed}"
    )]
    Overlap { number: u32, label: String, offset: u64, needed: u64 },
    #[error(
        "partition {number} ({label}) cannot be kept: it is outside of the disk, or overlaps another one"
    )]
    Outside { number: u32, label: String },
    #[error("partition {number} ({label}) cannot be kept: the image has one with its label or UUID")]
    Twin { number: u32, label: String },
    #[error("the partition table has no free entry for partition {number} ({label})")]
    Full { number: u32, label: String },
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("cannot read the disk")]
    Read(#[source] io::Error),
}

/// Partitions of a disk, with their entries as on the disk.
#[derive(Debug, Clone)]
pub struct KeptPartitions {
    uuid: Vec<u8>,
    entries: Vec<(Partition, Vec<u8>)>,
    is_primary_valid: bool,
}

impl KeptPartitions {
    /// Those of the disk for which `is_kept` holds; `None` if there is none, or no table.
    ///
    /// # Errors
    /// The disk cannot be read, or has a table that cannot be used.
    pub fn read(disk: &impl Disk, is_kept: impl Fn(&Partition) -> bool) -> Result<Option<Self>, KeepError> {
        let table = match read(disk) {
            Ok(table) => table,
            Err(TableError::None) if has_mbr(disk)? => return Err(KeepError::NoTable),
            Err(TableError::None) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let wanted: Vec<_> = table.partitions().iter().filter(|part| is_kept(part)).cloned().collect();
        if wanted.is_empty() { Ok(None) } else { Self::of(&table, wanted).map(Some) }
    }

    fn of(table: &Table, wanted: Vec<Partition>) -> Result<Self, KeepError> {
        let copy = table.first.as_ref().or(table.last.as_ref()).ok_or(TableError::None)?;
        if table.sector != SECTOR {
            return Err(KeepError::Sector(table.sector));
        }
        if copy.entry_size() != ENTRY {
            return Err(KeepError::Entry(copy.entry_size()));
        }
        let entries = wanted.into_iter().map(|part| {
            let at = usize::try_from(part.number).unwrap_or(0).saturating_sub(1);
            let entry = copy.entries.chunks_exact(ENTRY).nth(at).unwrap_or_default().to_vec();
            (part, entry)
        });
        let uuid = copy.disk().unwrap_or_default().to_vec();
        Ok(Self { uuid, entries: entries.collect(), is_primary_valid: table.first.is_some() })
    }

    /// In the order of the table.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.entries.iter().map(|(part, _)| part)
    }
}

/// Whether sector 0 has partitions of its own, or protects a table.
fn has_mbr(disk: &impl Disk) -> Result<bool, KeepError> {
    let mut sector = [0; SECTOR as usize];
    if disk.length().map_err(KeepError::Read)? < SECTOR {
        return Ok(false);
    }
    disk.read_at(&mut sector, 0).map_err(KeepError::Read)?;
    let records = sector[MBR_RECORD..].chunks_exact(MBR_RECORD_BYTES).take(MBR_RECORDS);
    let mut kinds = records.map(|record| record.get(4).copied().unwrap_or(0));
    Ok(sector.ends_with(&MBR_SIGNATURE) && kinds.any(|kind| kind != 0))
}

/// The tables of an installation that keeps partitions.
#[derive(Debug, Clone)]
pub struct KeptTables {
    kept: Vec<Partition>,
    alone: FittedTable,
    complete: FittedTable,
    is_primary_valid: bool,
}

impl ImageTable {
    /// As [`ImageTable::fit`], with further partitions. One keeps its number, unless the image has a partition of this number.
    ///
    /// # Errors
    /// They are where the image is, or the table has no place for them.
    pub fn fit_with(&self, length: u64, kept: &KeptPartitions) -> Result<KeptTables, KeepError> {
        let needed = self.content_bytes();
        let mut ordered: Vec<_> = kept.partitions().collect();
        ordered.sort_by_key(|part| part.offset);
        let (mut free, end) = (needed, length.saturating_sub(BACKUP_SECTORS * SECTOR));
        for part in ordered {
            let (number, label) = (part.number, part.label.clone());
            if part.offset < needed {
                return Err(KeepError::Overlap { number, label, offset: part.offset, needed });
            }
            let last = part.offset.saturating_add(part.bytes);
            if part.offset < free || last > end {
                return Err(KeepError::Outside { number, label });
            }
            let is_twin = |own: &Partition| own.label == part.label || own.uuid == part.uuid;
            if self.partitions().iter().any(is_twin) {
                return Err(KeepError::Twin { number, label });
            }
            free = last;
        }
        let mut header = self.copy.clone();
        header.set(DISK_UUID, &kept.uuid);
        let alone = add(vec![0; header.entries.len()], kept)?;
        let complete = add(header.entries.clone(), kept)?;
        Ok(KeptTables {
            kept: kept.partitions().cloned().collect(),
            alone: FittedTable::new(&header, &[], alone, length),
            complete: FittedTable::new(&header, &self.mbr, complete, length),
            is_primary_valid: kept.is_primary_valid,
        })
    }
}

/// Adds entries to those of a table: first all whose number is free, then the others behind them.
fn add(mut entries: Vec<u8>, kept: &KeptPartitions) -> Result<Vec<u8>, KeepError> {
    let own = |part: &Partition| usize::try_from(part.number).unwrap_or(0).saturating_sub(1);
    let is_free = |entry: &[u8]| entry.iter().take(16).all(|byte| *byte == 0);
    let mut moved = Vec::new();
    for (part, entry) in &kept.entries {
        match entries.chunks_exact_mut(ENTRY).nth(own(part)).filter(|place| is_free(place)) {
            Some(place) => place.copy_from_slice(entry),
            None => moved.push((part, entry)),
        }
    }
    for (part, entry) in moved {
        let behind =
            entries.chunks_exact(ENTRY).rposition(|entry| !is_free(entry)).map_or(0, |last| last + 1);
        let place = entries.chunks_exact_mut(ENTRY).nth(behind);
        let (number, label) = (part.number, part.label.clone());
        place.ok_or(KeepError::Full { number, label })?.copy_from_slice(entry);
    }
    Ok(entries)
}

impl KeptTables {
    /// What is kept.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.kept
    }

    /// Replaces the disk's table by one that has only the kept partitions.
    ///
    /// # Errors
    /// A write; one copy of a table with them is valid.
    pub fn begin(&self, disk: &mut impl Disk) -> Result<(), TableError> {
        if self.is_primary_valid {
            return self.alone.write(disk);
        }
        // The backup is the valid copy.
        self.alone.write_primary(disk)?;
        self.alone.write_backup(disk)
    }

    /// Replaces that table by the complete one.
    ///
    /// # Errors
    /// As for [`KeptTables::begin`].
    pub fn finish(&self, disk: &mut impl Disk) -> Result<(), TableError> {
        self.complete.write(disk)
    }
}
