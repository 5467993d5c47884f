//! Copies and digests of sparse files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use disk_formats::blocks::for_each;
use nix::unistd::{Whence, lseek};
use sha2::{Digest, Sha256};

use crate::fetch::hex;

/// Block size of digests; larger than any file system's block.
const DIGEST_BLOCK: usize = 1 << 18;

pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let length = from.metadata()?.len();
    copy_part(from, 0, length, to)
}

/// Copies `length` bytes from `start` to a new file, preserving holes.
pub fn copy_part(from: &Path, start: u64, length: u64, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let target = File::create(to)?;
    target.set_len(length)?;
    let to_offset = |number: u64| i64::try_from(number).map_err(io::Error::other);
    let (first, end) = (to_offset(start)?, to_offset(start.saturating_add(length))?);
    let mut at = first;
    loop {
        let data = match lseek(&source, at, Whence::SeekData) {
            Ok(data) if data < end => data,
            // Only a hole is left.
            Ok(_) | Err(nix::errno::Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        at = lseek(&source, data, Whence::SeekHole)?.min(end);
        copy_range(&mut source, &target, (data, at), first)?;
    }
}

/// Hex SHA-256 over all blocks that are not zero, with their offsets. Holes and zeros are equivalent, and holes are
/// not read. Comparable with other results of this function only.
pub fn digest(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut hash = Sha256::new_with_prefix(file.metadata()?.len().to_le_bytes());
    for_each(&file, DIGEST_BLOCK, |number, block| {
        hash.update((number * DIGEST_BLOCK as u64).to_le_bytes());
        hash.update(block);
        Ok(())
    })?;
    Ok(hex(&hash.finalize()))
}

/// Copies a range of the source to the corresponding range of the target, whose start is `first`.
fn copy_range(source: &mut File, mut target: &File, (from, to): (i64, i64), first: i64) -> io::Result<()> {
    source.seek(SeekFrom::Start(from.unsigned_abs()))?;
    target.seek(SeekFrom::Start((from - first).unsigned_abs()))?;
    let length = (to - from).unsigned_abs();
    let result = io::copy(&mut source.take(length), &mut target)?;
    if result == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::sha256_of;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_sparse_copy_has_the_same_bytes_and_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let mut file = File::create(&from).unwrap();
        file.seek(SeekFrom::Start(8 << 20)).unwrap();
        file.write_all(b"data").unwrap();
        file.set_len(32 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(sha256_of(&from).unwrap(), sha256_of(&to).unwrap());
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_digest_depends_on_content_and_not_on_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (holes, zeros) = (folder.path().join("a"), folder.path().join("b"));
        let mut content = vec![0; 3 << 20];
        content[700_000..700_004].copy_from_slice(b"data");
        content[(3 << 20) - 1] = 7;
        std::fs::write(&zeros, &content).unwrap();
        let file = File::create(&holes).unwrap();
        file.set_len(3 << 20).unwrap();
        let write_file =
            |at: u64, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
        write_file(700_000, b"data");
        write_file((3 << 20) - 1, &[7]);
        let first = digest(&holes).unwrap();
        assert_eq!(first, digest(&zeros).unwrap());
        for (at, before) in [(0, 0), (700_001, b'a'), (2 << 20, 0), ((3 << 20) - 1, 7)] {
            write_file(at, &[before ^ 1]);
            assert_ne!(digest(&holes).unwrap(), first, "{at}");
            write_file(at, &[before]);
        }
        file.set_len((3 << 20) + 1).unwrap();
        assert_ne!(digest(&holes).unwrap(), first);
    }

    #[test]
    fn a_part_is_copied_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        std::fs::write(&from, &content).unwrap();
        for (start, length) in [(0, 100_000), (1, 99_999), (4096, 8192), (99_999, 1), (7, 0)] {
            copy_part(&from, start, length, &to).unwrap();
            let (start, length) = (usize::try_from(start).unwrap(), usize::try_from(length).unwrap());
            assert!(std::fs::read(&to).unwrap() == content[start..start + length], "{start} {length}");
        }
    }

    #[test]
    fn a_failed_copy_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        // The file has content but does not support SEEK_DATA.
        let result = copy_sparse(Path::new("/proc/self/status"), &folder.path().join("a"));
        assert!(result.is_err(), "{result:?}");
    }
}
