//! Hyper-V's virtual hard disk, version 2, dynamically allocated.
//!
//! Layout: the file's identifier, two headers and two region tables in the first MiB, then an empty log, the metadata,
//! the block allocation table, and the blocks that are not zero, in order. All numbers are little-endian, and regions and
//! blocks begin at whole MiB. Source: "MS-VHDX: Virtual Hard Disk v2 (VHDX) File Format".

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use crate::SECTOR;
use crate::blocks::for_each;
use crate::guid::{mixed_endian, well_known};

/// First bytes of the file.
pub const SIGNATURE: &[u8; 8] = b"vhdxfile";

const MIB: u64 = 1 << 20;
const KIB_64: u64 = 64 << 10;
/// Microsoft recommends the smallest size for Linux: its file systems write far apart.
const BLOCK: usize = 1 << 20;
/// Bytes that a checksum of a header and of a region table covers.
const HEADER: usize = 4 << 10;
const REGION_TABLE: usize = 64 << 10;
const HEADERS_AT: [u64; 2] = [KIB_64, 2 * KIB_64];
const REGION_TABLES_AT: [u64; 2] = [3 * KIB_64, 4 * KIB_64];
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const TABLE_AT: u64 = 3 * MIB;
const CHECKSUM_AT: usize = 4;
/// Largest disk of the format.
const MAX_CAPACITY: u64 = 64 << 40;
/// Blocks whose sectors one block of the bitmap describes, which only disks with a parent have. The table has an entry for
/// it behind theirs.
const CHUNK: u64 = (1 << 23) * SECTOR / BLOCK as u64;
/// States of a block in the low bits of its entry.
const ZERO: u64 = 2;
const PRESENT: u64 = 6;

const TABLE_REGION: [u8; 16] = well_known(0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08);
const METADATA_REGION: [u8; 16] = well_known(0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e);
const FILE_PARAMETERS: [u8; 16] = well_known(0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b);
const DISK_SIZE: [u8; 16] = well_known(0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8);
const DISK_ID: [u8; 16] = well_known(0xbeca_12ab_b2e6_4523_93ef_c309_e000_c746);
const LOGICAL_SECTOR: [u8; 16] = well_known(0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f);
const PHYSICAL_SECTOR: [u8; 16] = well_known(0xcda3_48c7_445d_4471_9cc9_e988_5251_c556);
/// As of the disks that Hyper-V creates.
const PHYSICAL_SECTOR_SIZE: u32 = 4096;
/// Flags of a metadata item: a reader must know it; it describes the disk, not the file.
const REQUIRED: u32 = 4;
const OF_DISK: u32 = 2;

/// Identifiers of an image, as 16 bytes in the order of their text.
#[derive(Debug, Clone, Copy)]
pub struct Uuids {
    /// Of the disk, as its SCSI page 0x83 has it.
    pub disk: [u8; 16],
    /// Of the file's last change.
    pub file_write: [u8; 16],
    /// Of the last change of the disk's content.
    pub data_write: [u8; 16],
}

/// Writes a disk as a VHDX to `out`.
///
/// # Errors
/// Those of `disk` and `out`, and a disk of more than 64 TiB or of a part of a sector.
pub fn write(disk: &File, uuids: Uuids, mut out: impl Write + Seek) -> io::Result<()> {
    let capacity = disk.metadata()?.len();
    if capacity == 0 || capacity > MAX_CAPACITY || !capacity.is_multiple_of(SECTOR) {
        return Err(io::Error::other(format!("a VHDX cannot have a disk of {capacity} bytes")));
    }
    let count = capacity.div_ceil(BLOCK as u64);
    let entries = count + (count - 1) / CHUNK;
    let mut table: Vec<u64> = (0..entries).map(|entry| if is_bitmap(entry) { 0 } else { ZERO }).collect();
    // invariant: 64 TiB have 2^26 blocks, and so a table of 512 MiB.
    let table_length = u32::try_from((8 * entries).next_multiple_of(MIB)).map_err(io::Error::other)?;
    let data_at = TABLE_AT + u64::from(table_length);
    out.seek(SeekFrom::Start(data_at))?;
    let mut next = data_at;
    for_each(disk, BLOCK, |number, block| {
        // invariant: `number` is below `count`. The position is a whole number of MiB, the unit of an entry's high bits.
        table[(number + number / CHUNK) as usize] = next | PRESENT;
        next += BLOCK as u64;
        out.write_all(block)
    })?;
    // A disk without content: the file still contains all of its regions.
    if next == data_at {
        out.seek(SeekFrom::Start(data_at - 1))?;
        out.write_all(&[0])?;
    }
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&identifier())?;
    for (number, at) in HEADERS_AT.into_iter().enumerate() {
        out.seek(SeekFrom::Start(at))?;
        out.write_all(&header(number as u64 + 1, uuids))?;
    }
    for at in REGION_TABLES_AT {
        out.seek(SeekFrom::Start(at))?;
        out.write_all(&region_table(table_length))?;
    }
    out.seek(SeekFrom::Start(METADATA_AT))?;
    out.write_all(&metadata(capacity, uuids.disk))?;
    out.seek(SeekFrom::Start(TABLE_AT))?;
    out.write_all(&table)?;
    out.flush()
}

/// Whether an entry of the table is that of a bitmap.
fn is_bitmap(entry: u64) -> bool {
    entry % (CHUNK + 1) == CHUNK
}

fn identifier() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    // The creator, for people.
    bytes.extend("keelson".encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

/// The header with the highest sequence number is valid.
fn header(sequence: u64, uuids: Uuids) -> Vec<u8> {
    let fields: [&[u8]; 9] = [
        b"head",
        &[0; 4],
        &sequence.to_le_bytes(),
        &mixed_endian(uuids.file_write),
        &mixed_endian(uuids.data_write),
        // No log is to be replayed.
        &[0; 16],
        // Versions of the log and of the format.
        &[0, 0, 1, 0],
        &(MIB as u32).to_le_bytes(),
        &LOG_AT.to_le_bytes(),
    ];
    with_checksum(fields.concat(), HEADER)
}

fn region_table(table_length: u32) -> Vec<u8> {
    let mut bytes = [&b"regi"[..], &[0; 4], &2_u32.to_le_bytes(), &[0; 4]].concat();
    for (id, at, length) in
        [(TABLE_REGION, TABLE_AT, table_length), (METADATA_REGION, METADATA_AT, MIB as u32)]
    {
        bytes.extend(id);
        bytes.extend(at.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        // A reader must know the region.
        bytes.extend(1_u32.to_le_bytes());
    }
    with_checksum(bytes, REGION_TABLE)
}

/// The items follow their table of 64 KiB.
fn metadata(capacity: u64, disk: [u8; 16]) -> Vec<u8> {
    let items: [([u8; 16], u32, &[u8]); 5] = [
        // Blocks may be released, and there is no parent.
        (FILE_PARAMETERS, REQUIRED, &[(BLOCK as u32).to_le_bytes(), [0; 4]].concat()),
        (DISK_SIZE, REQUIRED | OF_DISK, &capacity.to_le_bytes()),
        (DISK_ID, REQUIRED | OF_DISK, &mixed_endian(disk)),
        (LOGICAL_SECTOR, REQUIRED | OF_DISK, &(SECTOR as u32).to_le_bytes()),
        (PHYSICAL_SECTOR, REQUIRED | OF_DISK, &PHYSICAL_SECTOR_SIZE.to_le_bytes()),
    ];
    let mut table = [&b"metadata"[..], &[0; 2], &(items.len() as u16).to_le_bytes(), &[0; 20]].concat();
    let mut content: Vec<u8> = Vec::new();
    for (id, flags, value) in items {
        table.extend(id);
        for number in [KIB_64 as u32 + content.len() as u32, value.len() as u32, flags, 0] {
            table.extend(number.to_le_bytes());
        }
        content.extend(value);
    }
    table.resize(KIB_64 as usize, 0);
    table.extend(content);
    table
}

/// Pads a structure to `length` and sets the checksum of it.
fn with_checksum(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length, 0);
    let checksum = crc32c::crc32c(&bytes);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::os::unix::fs::FileExt;

    const UUIDS: Uuids = Uuids { disk: *b"0123456789abcdef", file_write: [1; 16], data_write: [2; 16] };

    fn written(content: &[u64], length: u64) -> io::Result<Vec<u8>> {
        let disk = tempfile::tempfile().unwrap();
        for at in content {
            disk.write_all_at(&[7], *at).unwrap();
        }
        disk.set_len(length).unwrap();
        let mut out = Cursor::new(Vec::new());
        write(&disk, UUIDS, &mut out)?;
        Ok(out.into_inner())
    }

    fn number(bytes: &[u8], at: u64) -> u64 {
        let at = at as usize;
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn only_blocks_with_content_are_stored() {
        let mib = MIB as usize;
        let out = written(&[MIB + 5, 3 * MIB], 3 * MIB + 512).unwrap();
        assert_eq!(out.len(), 6 * mib);
        let entries = [0, 1, 2, 3].map(|entry| number(&out, TABLE_AT + 8 * entry));
        assert_eq!(entries, [ZERO, 4 << 20 | PRESENT, ZERO, 5 << 20 | PRESENT]);
        assert_eq!((out[4 * mib + 5], out[5 * mib]), (7, 7));
        assert_eq!(number(&out, METADATA_AT + KIB_64 + 8), 3 * MIB + 512);
        let id = (METADATA_AT + KIB_64) as usize + 16;
        assert_eq!(&out[id..id + 16], b"3210547689abcdef");
    }

    #[test]
    fn entries_of_the_bitmap_are_behind_each_chunk() {
        // The last block of the first chunk, the first of the second.
        let out = written(&[(CHUNK - 1) * MIB, CHUNK * MIB], (CHUNK + 1) * MIB).unwrap();
        let entries =
            [CHUNK - 2, CHUNK - 1, CHUNK, CHUNK + 1].map(|entry| number(&out, TABLE_AT + 8 * entry));
        assert_eq!(entries, [ZERO, 4 << 20 | PRESENT, 0, 5 << 20 | PRESENT]);
        // No bitmap follows the last chunk, even a full one.
        let out = written(&[], CHUNK * MIB).unwrap();
        assert_eq!(number(&out, TABLE_AT + 8 * CHUNK), 0);
        assert_eq!(out.len() as u64, TABLE_AT + MIB);
    }

    #[test]
    fn checksums_cover_the_structures() {
        let out = written(&[0], MIB).unwrap();
        for (at, length) in
            HEADERS_AT.map(|at| (at, HEADER)).into_iter().chain(REGION_TABLES_AT.map(|at| (at, REGION_TABLE)))
        {
            let at = at as usize;
            let mut bytes = out[at..at + length].to_vec();
            let stored = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
            bytes[4..8].fill(0);
            assert_eq!(stored, crc32c::crc32c(&bytes), "{at}");
        }
    }

    #[test]
    fn a_disk_that_the_format_cannot_have_is_an_error() {
        for length in [0, 513] {
            let error = written(&[], length).unwrap_err();
            assert_eq!(error.to_string(), format!("a VHDX cannot have a disk of {length} bytes"));
        }
    }
}
