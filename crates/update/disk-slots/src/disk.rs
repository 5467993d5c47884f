//! Disks as block devices.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// A disk with a partition table.
pub trait Disk {
    /// Fills `into` from byte `offset`.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes`. Not durable before [`Disk::sync`].
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once all writes are durable.
    fn sync(&mut self) -> io::Result<()>;
    /// In bytes.
    fn length(&self) -> io::Result<u64>;
}

/// A block device, or a disk image.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    /// Held to keep udev off the device (systemd, Locking Block Device Access).
    _lock: Option<Flock<File>>,
}

impl DiskFile {
    /// Opens for changes. Keeps udev off the device until dropped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let lock = Flock::lock(file.try_clone()?, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        Ok(Self { file, _lock: Some(lock) })
    }

    /// Opens for reading, even while another process changes the disk.
    pub fn read_only(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, _lock: None })
    }
}

impl Disk for DiskFile {
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
