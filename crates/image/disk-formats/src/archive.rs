//! Archives without anything that depends on the host: time, owner and mode of each member are fixed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use tar::{Builder, EntryType, Header};

use crate::SECTOR;
use crate::blocks::for_each;

const MODE: u32 = 0o644;
/// Block size in which a sparse member's zeros are found.
const SPARSE_BLOCK: usize = 64 << 10;
/// Data ranges in a GNU header, and in each block that continues it.
const RANGES: usize = 4;
const MORE_RANGES: usize = 21;

/// A POSIX ustar archive, as OVA and boxes require. It has no sparse members, and none larger than 8 GiB.
pub struct Ustar<W: Write> {
    archive: Builder<W>,
    time: u64,
}

impl<W: Write> Ustar<W> {
    /// Starts an archive whose members have `time`, Unix time, as their modification time.
    pub fn new(out: W, time: u64) -> Self {
        Self { archive: Builder::new(out), time }
    }

    /// Appends a file of `size` bytes.
    ///
    /// # Errors
    /// Those of `content` and of the output, a content that is shorter, and a name that does not fit.
    pub fn add(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = header(Header::new_ustar(), EntryType::Regular, self.time);
        header.set_size(size);
        let mut content = content.take(size);
        self.archive.append_data(&mut header, name, &mut content)?;
        if content.limit() == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Ends the archive and returns the output.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        self.archive.into_inner()
    }
}

/// Writes an archive in GNU tar's old format with a disk as its only member `name`: Google Compute Engine's import format.
/// Ranges of zeros are not stored. `out` is flushed behind the header.
///
/// # Errors
/// Those of `disk` and `out`. The disk is read twice.
pub fn write_sparse(mut disk: &File, name: &str, time: u64, mut out: impl Write) -> io::Result<()> {
    let length = disk.metadata()?.len();
    let ranges = data_ranges(disk, length)?;
    let mut header = header(Header::new_gnu(), EntryType::GNUSparse, time);
    header.set_path(name)?;
    header.set_size(ranges.iter().map(|(_, length)| length).sum());
    let (first, rest) = ranges.split_at(ranges.len().min(RANGES));
    let gnu = header.as_gnu_mut().ok_or_else(|| io::Error::other("not a GNU header"))?;
    gnu.set_is_extended(!rest.is_empty());
    gnu.set_real_size(length);
    for (slot, (offset, length)) in gnu.sparse.iter_mut().zip(first) {
        slot.set_offset(*offset);
        slot.set_length(*length);
    }
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    let mut rest = rest.chunks(MORE_RANGES).peekable();
    while let Some(ranges) = rest.next() {
        let mut more = tar::GnuExtSparseHeader::new();
        for (slot, (offset, length)) in more.sparse.iter_mut().zip(ranges) {
            slot.set_offset(*offset);
            slot.set_length(*length);
        }
        more.set_is_extended(rest.peek().is_some());
        out.write_all(more.as_bytes())?;
    }
    // A compressor starts a block: those of other formats are the same.
    out.flush()?;
    let mut written = 0;
    for (offset, length) in ranges {
        disk.seek(SeekFrom::Start(offset))?;
        let copied = io::copy(&mut disk.take(length), &mut out)?;
        if copied != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        written += copied;
    }
    // The member's last block, and the two empty blocks that end an archive.
    let end = written.next_multiple_of(SECTOR) - written + 2 * SECTOR;
    io::copy(&mut io::repeat(0).take(end), &mut out)?;
    out.flush()
}

/// (offset, length) of all ranges that are not zero. A disk that ends with zeros has an empty range at its end, from
/// which GNU tar derives the file's size.
fn data_ranges(disk: &File, length: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for_each(disk, SPARSE_BLOCK, |number, _| {
        let offset = number * SPARSE_BLOCK as u64;
        let size = (length - offset).min(SPARSE_BLOCK as u64);
        match ranges.last_mut() {
            Some((start, so_far)) if *start + *so_far == offset => *so_far += size,
            _ => ranges.push((offset, size)),
        }
        Ok(())
    })?;
    if ranges.last().is_none_or(|(offset, size)| offset + size < length) {
        ranges.push((length, 0));
    }
    Ok(ranges)
}

fn header(mut header: Header, kind: EntryType, time: u64) -> Header {
    header.set_entry_type(kind);
    header.set_mode(MODE);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_fixed_metadata() {
        let mut archive = Ustar::new(Vec::new(), 1_700_000_000);
        archive.add("a.ovf", 3, &b"ovf"[..]).unwrap();
        let bytes = archive.finish().unwrap();
        let mut archive = tar::Archive::new(&*bytes);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header().clone();
        assert_eq!(&header.as_bytes()[257..265], b"ustar\x0000");
        let metadata = (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        assert_eq!((metadata, header.mode().unwrap()), ((1_700_000_000, 0, 0), 0o644));
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "ovf");
    }

    #[test]
    fn content_that_is_shorter_than_its_size_is_an_error() {
        let mut archive = Ustar::new(Vec::new(), 0);
        assert!(archive.add("a", 3, &b"ab"[..]).is_err());
    }

    fn sparse(disk: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(disk).unwrap();
        write_sparse(&file, "disk.raw", 0, &mut out).unwrap();
        out
    }

    #[test]
    fn a_sparse_member_is_restored_whole() {
        // More ranges than a header and one continuation have.
        let blocks = 2 * (RANGES + MORE_RANGES) + 5;
        let mut disk = vec![0; 2 * blocks * SPARSE_BLOCK];
        for number in 0..blocks {
            disk[2 * number * SPARSE_BLOCK + 17] = u8::try_from(number % 255).unwrap() + 1;
        }
        for length in [disk.len(), disk.len() - SPARSE_BLOCK, disk.len() - SPARSE_BLOCK - 1] {
            let bytes = sparse(&disk[..length]);
            assert!(bytes.len() < length, "{} {length}", bytes.len());
            let mut archive = tar::Archive::new(&*bytes);
            let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(content == disk[..length], "{length}");
        }
    }

    #[test]
    fn an_empty_disk_has_its_size() {
        let bytes = sparse(&[0; 1 << 20]);
        let mut archive = tar::Archive::new(&*bytes);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.size(), 1 << 20);
    }
}
