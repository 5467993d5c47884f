//! Targets and readers of images: files and partitions with random access.
//!
//! Written data is durable only after `sync` returned `Ok`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

/// Private, like all files in the boot partition.
const FILE_MODE: u32 = 0o600;
/// Alignment that satisfies `O_DIRECT` on any disk.
const ALIGNMENT: usize = 4096;
/// Read size with `O_DIRECT`.
const DIRECT_BYTES: usize = 4 << 20;

/// Random read access.
pub trait ReadAt: Sync {
    /// Fills `buffer`. `UnexpectedEof` if it ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// The file with these bytes, and where they begin in it: the kernel copies from it without a buffer.
    fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        None
    }
}

/// A destination for an image.
pub trait Target: ReadAt {
    /// Maximum size of an image in bytes.
    fn capacity(&self) -> io::Result<u64>;

    /// Writes all of `bytes`. Some may be written on error.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once all writes are durable.
    fn sync(&self) -> io::Result<()>;

    /// Completes the image: truncates a file to `size` bytes. Durable on return.
    fn finish(&self, size: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    /// Works for block devices, too.
    fn size(&self) -> io::Result<u64> {
        (&mut &*self).seek(SeekFrom::End(0))
    }

    fn file(&self) -> Option<(BorrowedFd<'_>, u64)> {
        Some((self.as_fd(), 0))
    }
}

/// A partition, or a file of fixed size in its place.
#[derive(Debug)]
pub struct Partition(File);

impl Partition {
    /// Opens an existing partition.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().read(true).write(true).open(path)?))
    }
}

impl ReadAt for Partition {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.0)
    }
}

impl Target for Partition {
    fn capacity(&self) -> io::Result<u64> {
        ReadAt::size(&self.0)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        sync_and_drop_cache(&self.0)
    }

    fn finish(&self, _size: u64) -> io::Result<()> {
        self.sync()
    }
}

/// A file that grows to the image's size. The caller syncs its directory.
#[derive(Debug)]
pub struct GrowingFile(File);

impl GrowingFile {
    /// Keeps the content of an earlier attempt.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        Ok(Self(options.open(path)?))
    }
}

impl ReadAt for GrowingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.0)
    }
}

impl Target for GrowingFile {
    fn capacity(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        sync_and_drop_cache(&self.0)
    }

    fn finish(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)?;
        self.0.sync_all()
    }
}

/// Syncs and drops the page cache: nothing but a verification of the disk reads the data before the next boot.
pub fn sync_and_drop_cache(file: &File) -> io::Result<()> {
    sync_then_drop_cache(file, File::sync_data)
}

/// A failed sync leaves clean pages in the cache. They are dropped, too, so that a retry reads the disk.
fn sync_then_drop_cache(file: &File, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let synced = sync(file);
    let dropped = fadvise(file, 0, None, Advice::DontNeed);
    synced?;
    Ok(dropped?)
}

/// Reads a file or partition sequentially from the disk, bypassing the page cache if possible.
#[derive(Debug)]
pub struct DirectReader {
    file: File,
    /// Larger than the read size, to align the reads.
    buffer: Vec<u8>,
    begin: usize,
    next: usize,
    end: usize,
}

impl DirectReader {
    /// Opens a file or block device, bypassing the page cache if the file system can.
    pub fn open(path: &Path) -> io::Result<Self> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let file = match OpenOptions::new().read(true).custom_flags(direct).open(path) {
            // The file system does not support `O_DIRECT`.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let file = File::open(path)?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
                file
            }
            other => other?,
        };
        let buffer = vec![0; DIRECT_BYTES + ALIGNMENT];
        let begin = buffer.as_ptr().align_offset(ALIGNMENT);
        Ok(Self { file, buffer, begin, next: begin, end: begin })
    }

    fn fill(&mut self) -> io::Result<()> {
        let buffer = &mut self.buffer[self.begin..self.begin + DIRECT_BYTES];
        let read = match self.file.read(buffer) {
            // The end is not aligned, or the file system reports only now that it does not support `O_DIRECT`.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let flags = fcntl_getfl(&self.file)?;
                fcntl_setfl(&self.file, flags - OFlags::DIRECT)?;
                fadvise(&self.file, 0, None, Advice::DontNeed)?;
                self.file.read(buffer)?
            }
            other => other?,
        };
        self.next = self.begin;
        self.end = self.begin + read;
        Ok(())
    }
}

impl Read for DirectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.next == self.end {
            self.fill()?;
        }
        let count = buffer.len().min(self.end - self.next);
        buffer[..count].copy_from_slice(&self.buffer[self.next..self.next + count]);
        self.next += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;

    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::*;

    /// Whether the first page is in the page cache.
    fn is_cached(file: &File) -> bool {
        let mut page = [0; ALIGNMENT];
        match preadv2(file, &mut [IoSliceMut::new(&mut page)], 0, ReadWriteFlags::NOWAIT) {
            Ok(count) => count > 0,
            Err(Errno::AGAIN) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_failed_sync_leaves_nothing_in_the_page_cache() {
        // Not in /tmp, which may be a tmpfs.
        let program = std::env::current_exe().unwrap();
        let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
        file.write_all_at(&[7; 1 << 20], 0).unwrap();
        // As after a write error: clean pages, other bytes on the disk.
        let failing = |file: &File| {
            file.sync_data()?;
            assert!(is_cached(file), "the control");
            Err(io::Error::other("lost writes"))
        };
        let error = sync_then_drop_cache(&file, failing).unwrap_err();
        assert_eq!(error.to_string(), "lost writes");
        assert!(!is_cached(&file));
    }
}
