//! A disk as a row of bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// What a partition table is read from and written to.
pub trait Disk {
    /// Fills `into` from `offset` on, in bytes.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes`; nothing is sure to last before [`Disk::sync`].
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is on the medium.
    fn sync(&mut self) -> io::Result<()>;
    /// Bytes.
    fn length(&self) -> io::Result<u64>;
}

/// A whole disk, or a file that holds one.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    /// Keeps udev off while it is held (systemd, Locking Block Device Access).
    _lock: Option<Flock<File>>,
}

impl DiskFile {
    /// To be changed: udev keeps off as long as it is open.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let lock = Flock::lock(file.try_clone()?, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        Ok(Self { file, _lock: Some(lock) })
    }

    /// Only to look at, also while another changes it.
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
        // A device's metadata says 0.
        (&self.file).seek(SeekFrom::End(0))
    }
}
