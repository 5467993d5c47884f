//! Where images stand: files and partitions, read and written at offsets.
//!
//! Nothing here decides what is written where. What was written counts only after a `sync` that returned `Ok`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

/// A file with an image to come is for its owner alone, as everything of the boot partition is.
const FILE_MODE: u32 = 0o600;
/// What `O_DIRECT` asks of memory, offsets and lengths, on any disk.
const ALIGNMENT: usize = 4096;
/// Read at once past the page cache.
const DIRECT_BYTES: usize = 4 << 20;

/// Bytes at offsets.
pub trait ReadAt: Sync {
    /// Fills `buffer`; `UnexpectedEof` when the bytes end before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;
}

/// What an image is written to.
pub trait Target: ReadAt {
    /// The largest image that can be held, in bytes.
    fn capacity(&self) -> io::Result<u64>;

    /// Writes all of `bytes`. An error may leave a part of it written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when all that was written is on the disk.
    fn sync(&self) -> io::Result<()>;

    /// The image is whole with `size` bytes: a file gets that length. On the disk when it returns.
    fn finish(&self, size: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    /// Also of a block device.
    fn size(&self) -> io::Result<u64> {
        (&mut &*self).seek(SeekFrom::End(0))
    }
}

/// A partition, or a file that stands for one: its size does not change.
#[derive(Debug)]
pub struct Partition(File);

impl Partition {
    /// It exists.
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
        sync_and_forget(&self.0)
    }

    fn finish(&self, _size: u64) -> io::Result<()> {
        self.sync()
    }
}

/// A file that grows to the image's size. Its name is its maker's to put on the disk.
#[derive(Debug)]
pub struct GrowingFile(File);

impl GrowingFile {
    /// Keeps what is there: an attempt before may have written it.
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
        sync_and_forget(&self.0)
    }

    fn finish(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)?;
        self.0.sync_all()
    }
}

/// What is on the disk need not stay in memory: nothing reads it before the next boot but whoever checks the disk.
pub fn sync_and_forget(file: &File) -> io::Result<()> {
    sync_then_forget(file, File::sync_data)
}

/// A failed sync leaves its pages in the cache, marked clean: they are dropped too, so that a retry reads the disk.
fn sync_then_forget(file: &File, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let synced = sync(file);
    let forgotten = fadvise(file, 0, None, Advice::DontNeed);
    synced?;
    Ok(forgotten?)
}

/// Reads a file or partition from its start, past the page cache where that can be: what comes is what the disk has.
#[derive(Debug)]
pub struct FromDisk {
    file: File,
    /// Longer than what is read at once, so that a part of it is aligned.
    buffer: Vec<u8>,
    begin: usize,
    next: usize,
    end: usize,
}

impl FromDisk {
    pub fn open(path: &Path) -> io::Result<Self> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let file = match OpenOptions::new().read(true).custom_flags(direct).open(path) {
            // A file system that has no such thing.
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
        let room = &mut self.buffer[self.begin..self.begin + DIRECT_BYTES];
        let read = match self.file.read(room) {
            // A file that ends between two sectors, or one that says only now that it cannot.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let flags = fcntl_getfl(&self.file)?;
                fcntl_setfl(&self.file, flags - OFlags::DIRECT)?;
                fadvise(&self.file, 0, None, Advice::DontNeed)?;
                self.file.read(room)?
            }
            other => other?,
        };
        self.next = self.begin;
        self.end = self.begin + read;
        Ok(())
    }
}

impl Read for FromDisk {
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

    /// Whether the first page is read without the disk.
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
        // /tmp may be a file system in memory, which has nothing but the cache.
        let program = std::env::current_exe().unwrap();
        let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
        file.write_all_at(&[7; 1 << 20], 0).unwrap();
        // As after a write error: the pages are clean, and the disk may have other bytes.
        let failing = |file: &File| {
            file.sync_data()?;
            assert!(is_cached(file), "the control");
            Err(io::Error::other("lost writes"))
        };
        let error = sync_then_forget(&file, failing).unwrap_err();
        assert_eq!(error.to_string(), "lost writes");
        assert!(!is_cached(&file));
    }
}
