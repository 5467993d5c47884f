//! Disks that are written as a whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use disk_slots::Disk;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

/// Zeros that are written where the device has no command for it.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
/// Bytes after which the page cache is flushed, so that little is left for the end.
const FLUSH: u64 = 128 << 20;
/// Seconds before each attempt to reread the table: udev may have a partition open.
const REREAD_DELAYS: [u64; 4] = [0, 1, 2, 4];

#[allow(unsafe_code, reason = "nix has no function for it")]
mod requests {
    // BLKRRPART of linux/fs.h.
    nix::ioctl_none!(reread_partitions, 0x12, 95);
}

/// A disk that an image is written to.
pub trait Target: Disk {
    /// Makes a range read as zeros. Not durable before [`Disk::sync`]. Several threads call it, for ranges of their own.
    ///
    /// # Errors
    /// The write.
    fn zero_at(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// As [`Disk::write_at`], for several threads with ranges of their own.
    ///
    /// # Errors
    /// The write.
    fn put_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// As [`Disk::read_at`], from the device if that is possible.
    ///
    /// # Errors
    /// The read.
    fn read_back(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(into, offset)
    }
    /// Makes later reads come from the device instead of the page cache.
    ///
    /// # Errors
    /// The kernel's.
    fn forget_cache(&mut self) -> io::Result<()>;
    /// Whether a range has no storage, so that it reads as zeros.
    fn is_hole(&self, offset: u64, bytes: u64) -> bool {
        let _ = (offset, bytes);
        false
    }
}

/// The kernel still uses the old partition table.
#[derive(Debug, thiserror::Error)]
#[error("Failed to reread partitions on {path}")]
pub struct RereadError {
    path: PathBuf,
    source: io::Error,
}

/// A block device that no one else uses, or a regular file.
#[derive(Debug)]
pub struct DiskTarget {
    file: File,
    /// Transfers without the page cache; not in every file system.
    direct: Option<File>,
    /// Bytes in the page cache since the last flush.
    unflushed: AtomicU64,
    path: PathBuf,
    is_device: bool,
    /// Held to keep udev off the device (systemd, Locking Block Device Access).
    _lock: Flock<File>,
}

impl DiskTarget {
    /// Opens for changes. A block device is claimed: neither can it be in use, nor be mounted until dropped.
    ///
    /// # Errors
    /// The system's; `EBUSY` if a device is in use.
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_device = std::fs::metadata(path)?.file_type().is_block_device();
        let claim = if is_device { OFlag::O_EXCL.bits() } else { 0 };
        let file = OpenOptions::new().read(true).write(true).custom_flags(claim).open(path)?;
        let lock = Flock::lock(file.try_clone()?, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let direct = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_DIRECT.bits())
            .open(own_path(&file))
            .ok();
        Ok(Self { file, direct, unflushed: AtomicU64::new(0), path: path.to_owned(), is_device, _lock: lock })
    }

    /// A path for programs that this process starts, which is this file also if another one gets its name.
    #[must_use]
    pub fn inherited_path(&self) -> PathBuf {
        own_path(&self.file)
    }

    /// Whether `transfer` is done without the page cache. Not if the device needs another alignment.
    fn is_direct(&self, transfer: impl FnOnce(&File) -> io::Result<()>) -> io::Result<bool> {
        match self.direct.as_ref().map(transfer) {
            Some(Ok(())) => Ok(true),
            Some(Err(error)) if error.raw_os_error() != Some(Errno::EINVAL as i32) => Err(error),
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// Makes the kernel use the new partition table. Does nothing for files and devices without partitions, such as
    /// logical volumes.
    ///
    /// # Errors
    /// The device is still in use after 7 s.
    pub fn reread_partitions(&self) -> Result<(), RereadError> {
        if !self.is_device {
            return Ok(());
        }
        let mut result = Ok(0);
        for seconds in REREAD_DELAYS {
            sleep(Duration::from_secs(seconds));
            #[allow(unsafe_code, reason = "an ioctl")]
            // SAFETY: the descriptor is open, and the request has no argument.
            let answer = unsafe { requests::reread_partitions(self.file.as_raw_fd()) };
            result = answer;
            // EINVAL: a device without partitions.
            if matches!(result, Ok(_) | Err(Errno::EINVAL)) {
                return Ok(());
            }
        }
        result.map(drop).map_err(|error| RereadError { path: self.path.clone(), source: error.into() })
    }
}

/// A path of this process, for an open file.
fn own_path(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

impl Disk for DiskTarget {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        // The metadata of a device reports 0.
        (&self.file).seek(SeekFrom::End(0))
    }
}

impl Target for DiskTarget {
    fn zero_at(&self, offset: u64, bytes: u64) -> io::Result<()> {
        // Punching a hole where there is one costs milliseconds.
        if bytes == 0 || self.is_hole(offset, bytes) {
            return Ok(());
        }
        // A hole in a file; a device's command for zeros, or else the kernel writes them.
        let how = if self.is_device { FallocateFlags::ZERO_RANGE } else { FallocateFlags::PUNCH_HOLE };
        if fallocate(&self.file, how | FallocateFlags::KEEP_SIZE, offset, bytes).is_ok() {
            return Ok(());
        }
        let end = offset.saturating_add(bytes);
        let mut at = offset;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_all_at(ZEROS.get(..length).unwrap_or(&ZEROS), at)?;
            at += length as u64;
        }
        Ok(())
    }

    fn put_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.is_direct(|direct| direct.write_all_at(bytes, offset))? {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset)?;
        let unflushed = self.unflushed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if unflushed + bytes.len() as u64 >= FLUSH {
            self.unflushed.store(0, Ordering::Relaxed);
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn read_back(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        if self.is_direct(|direct| direct.read_exact_at(into, offset))? {
            return Ok(());
        }
        self.read_at(into, offset)
    }

    fn forget_cache(&mut self) -> io::Result<()> {
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }

    fn is_hole(&self, offset: u64, bytes: u64) -> bool {
        // Reads and writes have offsets of their own: the file's position is not used.
        !self.is_device
            && match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(offset)) {
                Ok(data) => data >= offset.saturating_add(bytes),
                Err(error) => error == rustix::io::Errno::NXIO,
            }
    }
}
