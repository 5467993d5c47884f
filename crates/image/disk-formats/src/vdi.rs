//! VirtualBox's disk image, version 1.1, dynamically allocated.
//!
//! Layout: a header of 512 bytes, a table with the file position of each block of 1 MiB, and the blocks that are not
//! zero, in order. All numbers are little-endian. Source: the structures in VirtualBox's `VDICore.h`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use crate::SECTOR;
use crate::blocks::for_each;
use crate::geometry::Geometry;
use crate::guid::mixed_endian;

/// Text at the start of the file.
const TEXT: &[u8] = b"<<< Oracle VM VirtualBox Disk Image >>>\n";
const SIGNATURE: u32 = 0xbeda_107f;
const VERSION: u32 = 0x0001_0001;
/// Bytes from the header's size field to its end.
const HEADER_SIZE: u32 = 400;
const DYNAMIC: u32 = 1;
const BLOCK: usize = 1 << 20;
const TABLE_AT: u64 = 512;
/// Table entry of a block that is not stored.
const FREE: u32 = u32::MAX;

/// Identifiers of an image, as 16 bytes in the order of their text.
#[derive(Debug, Clone, Copy)]
pub struct Uuids {
    /// Of the image: VirtualBox registers no two media with the same one.
    pub image: [u8; 16],
    /// Of the last change.
    pub modification: [u8; 16],
}

/// Writes a disk as a VDI to `out`.
///
/// # Errors
/// Those of `disk` and `out`, and a disk of more than 4 PiB, whose blocks cannot be numbered.
pub fn write(disk: &File, uuids: Uuids, mut out: impl Write + Seek) -> io::Result<()> {
    let capacity = disk.metadata()?.len();
    let count = u32::try_from(capacity.div_ceil(BLOCK as u64)).map_err(io::Error::other)?;
    let mut table = vec![FREE; count as usize];
    let data_at = (TABLE_AT + 4 * u64::from(count)).next_multiple_of(BLOCK as u64);
    out.seek(SeekFrom::Start(data_at))?;
    let mut stored = 0;
    for_each(disk, BLOCK, |number, block| {
        // invariant: `number` is below `count`, the table's length.
        table[number as usize] = stored;
        stored += 1;
        out.write_all(block)
    })?;
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header(capacity, count, stored, data_at, uuids)?)?;
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    out.write_all(&table)?;
    out.flush()
}

fn header(capacity: u64, count: u32, stored: u32, data_at: u64, uuids: Uuids) -> io::Result<Vec<u8>> {
    let data_at = u32::try_from(data_at).map_err(io::Error::other)?;
    let geometry = Geometry::ide(capacity);
    let geometry: [u32; 4] =
        [geometry.cylinders.into(), geometry.heads.into(), geometry.sectors.into(), SECTOR as u32];
    let mut header = TEXT.to_vec();
    header.resize(64, 0);
    let numbers = |header: &mut Vec<u8>, numbers: &[u32]| {
        header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    numbers(&mut header, &[SIGNATURE, VERSION, HEADER_SIZE, DYNAMIC, 0]);
    // The description.
    header.resize(header.len() + 256, 0);
    // The obsolete geometry is empty; the current one follows the identifiers.
    numbers(&mut header, &[TABLE_AT as u32, data_at, 0, 0, 0, SECTOR as u32, 0]);
    header.extend(capacity.to_le_bytes());
    numbers(&mut header, &[BLOCK as u32, 0, count, stored]);
    header.extend(mixed_endian(uuids.image));
    header.extend(mixed_endian(uuids.modification));
    // Parent and its modification.
    header.resize(header.len() + 32, 0);
    numbers(&mut header, &geometry);
    header.resize(TABLE_AT as usize, 0);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::os::unix::fs::FileExt;

    #[test]
    fn only_blocks_with_content_are_stored() {
        let disk = tempfile::tempfile().unwrap();
        disk.write_all_at(&[7], BLOCK as u64 + 5).unwrap();
        disk.write_all_at(&[9], 3 * BLOCK as u64).unwrap();
        disk.set_len(3 * BLOCK as u64 + 512).unwrap();
        let mut out = Cursor::new(Vec::new());
        let uuids = Uuids { image: *b"0123456789abcdef", modification: [9; 16] };
        write(&disk, uuids, &mut out).unwrap();
        let out = out.into_inner();
        assert_eq!(out.len(), 3 * BLOCK);
        let number = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!([512, 516, 520, 524].map(number), [FREE, 0, FREE, 1]);
        // Blocks of the disk, and stored ones.
        assert_eq!([384, 388].map(number), [4, 2]);
        assert_eq!(&out[392..408], b"3210547689abcdef");
        assert_eq!((out[BLOCK + 5], out[2 * BLOCK]), (7, 9));
    }
}
