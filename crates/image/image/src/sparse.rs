//! Copies and the digest of sparse files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use disk_formats::blocks::next_data;
use disk_formats::chunks;

pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let length = from.metadata()?.len();
    copy_part(from, 0, length, to)
}

/// Copies `length` bytes from `start` to a new file, preserving holes.
pub fn copy_part(from: &Path, start: u64, length: u64, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let target = File::create(to)?;
    target.set_len(length)?;
    let end = start.saturating_add(length);
    let mut at = start;
    while let Some((data, hole)) = next_data(&source, at)?
        && data < end
    {
        at = hole.min(end);
        copy_range(&mut source, &target, data..at, start)?;
    }
    Ok(())
}

/// Hex [`ChunkedDigest`](release::ChunkedDigest) of a raw disk. Holes and zeros are equivalent, and holes are not read.
pub fn digest(path: &Path) -> io::Result<String> {
    Ok(chunks::digest(&File::open(path)?)?.to_string())
}

/// Copies a range of the source to the corresponding range of the target, whose start is `first`.
fn copy_range(source: &mut File, mut target: &File, range: Range<u64>, first: u64) -> io::Result<()> {
    source.seek(SeekFrom::Start(range.start))?;
    target.seek(SeekFrom::Start(range.start - first))?;
    let length = range.end - range.start;
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
