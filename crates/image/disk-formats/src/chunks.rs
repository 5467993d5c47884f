//! The digest of a raw disk by its chunks, which all processors compute together.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use release::{ChunkedDigest, Digest};

use crate::blocks::is_zero;

const CHUNK: u64 = ChunkedDigest::CHUNK as u64;
/// More threads wait for the disk, not for the processor.
const MOST_THREADS: usize = 4;

/// The [`ChunkedDigest`] of a file, whose holes are not read.
///
/// # Errors
/// The file cannot be read, or becomes shorter meanwhile.
pub fn digest(disk: &File) -> io::Result<Digest> {
    let length = disk.metadata()?.len();
    let (chunks, next) = (length.div_ceil(CHUNK), AtomicU64::new(0));
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let parts = thread::scope(|scope| {
        let hash = || hash_next(disk, length, &next);
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(hash)).collect();
        let own = hash();
        let panicked = |_| Err(io::Error::other("a thread that hashes has panicked"));
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(panicked));
        others.chain([own]).collect::<io::Result<Vec<_>>>()
    })?;
    let mut parts = parts.concat();
    parts.sort_unstable_by_key(|(number, _)| *number);
    let mut digest = ChunkedDigest::new(length);
    for (number, chunk) in parts {
        digest.add(number, &chunk);
    }
    Ok(digest.finish(chunks))
}

/// Hashes chunks that no other thread does and that are not zero, until none is left.
fn hash_next(disk: &File, length: u64, next: &AtomicU64) -> io::Result<Vec<(u64, Digest)>> {
    let (mut buffer, mut found) = (vec![0; ChunkedDigest::CHUNK], Vec::new());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let start = number * CHUNK;
        if start >= length {
            return Ok(found);
        }
        let end = (start + CHUNK).min(length);
        if is_hole(disk, start, end) {
            continue;
        }
        let (filled, padding) = buffer.split_at_mut(usize::try_from(end - start).unwrap_or(0));
        disk.read_exact_at(filled, start)?;
        padding.fill(0);
        if !is_zero(&buffer) {
            found.push((number, Digest::of(&buffer)));
        }
    }
}

/// Whether a range has no storage. Not in file systems that do not report it.
fn is_hole(disk: &File, start: u64, end: u64) -> bool {
    // Reads have offsets of their own: the file's position is not used.
    match i64::try_from(start).map(|start| lseek(disk, start, Whence::SeekData)) {
        Ok(Ok(data)) => data.unsigned_abs() >= end,
        Ok(Err(error)) => error == Errno::ENXIO,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_zeros_are_equal_and_each_byte_counts() {
        let length = 5 * CHUNK + 7;
        let (holes, zeros) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        zeros.write_all_at(&vec![0; usize::try_from(length).unwrap()], 0).unwrap();
        holes.set_len(length).unwrap();
        let data = [(2 * CHUNK - 3, &b"across"[..]), (length - 1, b"e")];
        for (disk, (at, bytes)) in [&holes, &zeros].into_iter().flat_map(|disk| data.map(|data| (disk, data)))
        {
            disk.write_all_at(bytes, at).unwrap();
        }
        let first = digest(&holes).unwrap();
        assert_eq!(digest(&zeros).unwrap(), first);
        // As it is defined.
        let mut content = vec![0; 6 << 20];
        holes.read_exact_at(&mut content[..usize::try_from(length).unwrap()], 0).unwrap();
        let mut text = length.to_le_bytes().to_vec();
        content.chunks(1 << 20).for_each(|chunk| text.extend(Digest::of(chunk).0));
        assert_eq!(Digest::of(&text), first);
        for at in [0, 2 * CHUNK - 3, 2 * CHUNK, 4 * CHUNK, length - 1] {
            let mut byte = [0];
            zeros.read_exact_at(&mut byte, at).unwrap();
            zeros.write_all_at(&[byte[0] ^ 1], at).unwrap();
            assert_ne!(digest(&zeros).unwrap(), first, "{at}");
            zeros.write_all_at(&byte, at).unwrap();
        }
        zeros.set_len(length + 1).unwrap();
        assert_ne!(digest(&zeros).unwrap(), first);
    }
}
