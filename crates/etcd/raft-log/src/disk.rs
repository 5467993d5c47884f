//! The interface to the directory that holds a log.
//!
//! Implementations never retry and never hide a failure: the log decides what a failure means.
//!
//! Guarantees: a sector of 512 bytes is written atomically; data written before a successful `sync_data` survives a
//! crash; names created, renamed or removed before a successful `sync_folder` survive a crash. Everything else may be
//! lost, each sector and each name independently and in any order.

use std::io;

/// A directory. File names contain no separators.
pub trait Disk: Send + Sync + 'static {
    /// Locks the directory. Fails with `WouldBlock` if it is locked already.
    fn lock(&self) -> io::Result<DiskLock>;

    /// The files of the directory in any order, without the lock file.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file of `size` zero bytes with its space allocated. Fails with `StorageFull` (possibly leaving a
    /// file) or `AlreadyExists`.
    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file. `to` must not exist.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; the removal is durable after [`Disk::sync_folder`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all changes of names durable.
    fn sync_folder(&self) -> io::Result<()>;

    /// The directory's path for messages.
    fn display_path(&self) -> String;
}

/// Locks the directory until it is dropped.
pub type DiskLock = Box<dyn Send + Sync>;

/// An open file. It stays readable after it is removed.
pub trait DiskFile: Send + Sync + 'static {
    /// In bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer`. Fails with `UnexpectedEof` if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes`. `StorageFull` may leave a part of them written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all written data durable.
    fn sync_data(&self) -> io::Result<()>;
}
