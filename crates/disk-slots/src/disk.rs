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

/// A whole disk, or a file that holds one. udev keeps off as long as it is open (systemd, Locking Block Device Access).
#[derive(Debug)]
pub struct DiskFile(Flock<File>);

impl DiskFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Flock::lock(file, FlockArg::LockExclusive).map(Self).map_err(|(_, error)| error.into())
    }

    /// Only to look at.
    pub fn read_only(path: &Path) -> io::Result<Self> {
        Flock::lock(File::open(path)?, FlockArg::LockShared).map(Self).map_err(|(_, error)| error.into())
    }
}

impl Disk for DiskFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        // A device's metadata says 0.
        (&*self.0).seek(SeekFrom::End(0))
    }
}
