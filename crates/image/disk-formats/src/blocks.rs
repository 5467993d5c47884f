//! Reads a raw disk block by block, without its holes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

static ZEROS: [u8; 4096] = [0; 4096];

/// Calls `block` with the number and the bytes of each block of `size` bytes of `disk` that is not zero, in order. The
/// last block of the disk is padded with zeros.
///
/// # Errors
/// Those of the disk and of `block`.
pub fn for_each(
    disk: &File,
    size: usize,
    mut block: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = disk;
    let length = disk.metadata()?.len();
    let mut buffer = vec![0; size];
    let mut next = 0;
    while let Some((start, end)) = next_data(disk, next * size as u64)? {
        // A range of data begins and ends anywhere in a block.
        let first = next.max(start / size as u64);
        reader.seek(SeekFrom::Start(first * size as u64))?;
        next = end.div_ceil(size as u64);
        for number in first..next {
            let rest = length - number * size as u64;
            let filled = usize::try_from(rest).unwrap_or(size).min(size);
            reader.read_exact(&mut buffer[..filled])?;
            buffer[filled..].fill(0);
            if !is_zero(&buffer) {
                block(number, &buffer)?;
            }
        }
    }
    Ok(())
}

/// Start and end of the first range of data at or behind the offset `from`; `None` if only a hole follows.
///
/// # Errors
/// The file system does not report holes, or the file cannot be read.
pub fn next_data(disk: &File, from: u64) -> io::Result<Option<(u64, u64)>> {
    let from = i64::try_from(from).map_err(io::Error::other)?;
    let start = match lseek(disk, from, Whence::SeekData) {
        Ok(start) => start,
        // Only a hole is left.
        Err(Errno::ENXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = lseek(disk, start, Whence::SeekHole)?;
    Ok(Some((start.unsigned_abs(), end.unsigned_abs())))
}

/// Whether a block contains only zeros.
#[must_use]
pub fn is_zero(block: &[u8]) -> bool {
    // The C library compares slices: quick in a build without optimization too.
    block.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: &[(u64, &[u8])], length: u64, expected: &[(u64, &[u8])]) {
        let disk = tempfile::tempfile().unwrap();
        for (at, bytes) in write {
            std::os::unix::fs::FileExt::write_all_at(&disk, bytes, *at).unwrap();
        }
        disk.set_len(length).unwrap();
        let mut found = Vec::new();
        for_each(&disk, 4, |number, block| {
            found.push((number, block.to_vec()));
            Ok(())
        })
        .unwrap();
        let found: Vec<_> = found.iter().map(|(number, block)| (*number, &**block)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn blocks_that_are_not_zero_are_read_once() {
        check(&[], 0, &[]);
        check(&[], 1 << 30, &[]);
        check(&[(0, b"abcdef")], 6, &[(0, b"abcd"), (1, b"ef\0\0")]);
        check(&[(0, b"a\0\0\0\0\0\0\0b")], 12, &[(0, b"a\0\0\0"), (2, b"b\0\0\0")]);
        // Far apart, with a hole between them.
        check(&[(5, b"x"), (1 << 20, b"y")], 1 << 30, &[(1, b"\0x\0\0"), (1 << 18, b"y\0\0\0")]);
    }

    #[test]
    fn an_error_ends_the_reading() {
        let disk = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&disk, b"abcdefgh", 0).unwrap();
        let mut calls = 0;
        let result = for_each(&disk, 4, |_, _| {
            calls += 1;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!((result.unwrap_err().kind(), calls), (io::ErrorKind::StorageFull, 1));
    }

    #[test]
    fn any_other_byte_makes_a_block_not_zero() {
        let mut block = [0; 2 * ZEROS.len() + 3];
        assert!(is_zero(&block));
        for at in [0, 1, ZEROS.len(), 2 * ZEROS.len(), 2 * ZEROS.len() + 2] {
            block[at] = 1;
            assert!(!is_zero(&block), "{at}");
            block[at] = 0;
        }
    }
}
