//! The partition table of a finished image, as another library reads it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::tree::{PathContext, TreeError};

/// Bytes per logical block.
const BLOCK: u64 = 512;
/// Limit of the compared partition entries; a usual table has 16 KiB.
const ENTRIES_MAX: u64 = 1 << 20;
/// The first usable block. What is before it, but for the table, is reserved for the boot loader of a BIOS: no program
/// that respects the table puts a partition there, and slots on disks in the field cannot move.
const FIRST_USABLE: u64 = (1 << 20) / BLOCK;

/// The first fault of a table that is still readable. Readers use one valid header and do not compare the entries, so
/// damage of one copy would go unnoticed until the other is damaged too.
pub(crate) fn damage(table: &gpt::GptDisk<File>, raw: &Path) -> Result<Option<String>, TreeError> {
    let (first, last) = match (table.primary_header(), table.backup_header()) {
        (Err(error), _) => return Ok(Some(format!("primary header: {error}"))),
        (_, Err(error)) => return Ok(Some(format!("backup header: {error}"))),
        (Ok(first), Ok(last)) => (first, last),
    };
    let entries = |header: &gpt::header::Header| -> Result<Vec<u8>, TreeError> {
        let length = u64::from(header.num_parts).saturating_mul(header.part_size.into()).min(ENTRIES_MAX);
        let mut file = File::open(raw).at(raw)?;
        file.seek(SeekFrom::Start(header.part_start.saturating_mul(BLOCK))).at(raw)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).at(raw)?;
        Ok(bytes)
    };
    let same = first.crc32_parts == last.crc32_parts && entries(first)? == entries(last)?;
    if !same {
        return Ok(Some("the entries of the primary and the backup table differ".to_owned()));
    }
    let first_usable = first.first_usable;
    Ok((first_usable != FIRST_USABLE).then(|| {
        format!("partitions may begin at block {first_usable}, not {FIRST_USABLE}: a boot loader for BIOS has no place")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(change: impl Fn(&mut Vec<u8>), expected: Option<&str>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let device = std::io::Cursor::new(vec![0; 8 << 20]);
        let mut table = gpt::GptConfig::new().writable(true).create_from_device(device, None).unwrap();
        table.add_partition("EFI-SYSTEM", 1 << 20, gpt::partition_types::EFI, 0, None).unwrap();
        let mut disk = table.write().unwrap().into_inner();
        for header in [512, disk.len() - 512] {
            disk[header + 40..header + 48].copy_from_slice(&FIRST_USABLE.to_le_bytes());
            seal(&mut disk[header..header + 92]);
        }
        change(&mut disk);
        file.write_all(&disk).unwrap();
        let table = gpt::GptConfig::new().writable(false).open(file.path()).unwrap();
        let found = damage(&table, file.path()).unwrap();
        match expected {
            Some(expected) => {
                assert!(found.as_ref().is_some_and(|text| text.contains(expected)), "{found:?}")
            }
            None => assert_eq!(found, None),
        }
    }

    /// Sets the checksum of a header.
    fn seal(header: &mut [u8]) {
        header[16..20].fill(0);
        let sum = crc32fast::hash(header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn damage_is_named() {
        check(|_| (), None);
        check(|disk| disk[512 + 40] = 1, Some("primary header"));
        let backup = |disk: &mut Vec<u8>| {
            let last = disk.len() - 512;
            disk[last + 40] = 1;
        };
        check(backup, Some("backup header"));
        let early = |disk: &mut Vec<u8>| {
            disk[512 + 40..512 + 48].copy_from_slice(&34_u64.to_le_bytes());
            seal(&mut disk[512..512 + 92]);
        };
        check(early, Some("partitions may begin at block 34, not 2048"));
    }
}
