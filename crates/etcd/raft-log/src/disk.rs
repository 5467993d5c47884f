//! The folder on a disk that a log lives in, as an interface: what the log asks of it, and what it may rely on.
//!
//! It must never retry or hide a failure: the log decides what a failure means.
//!
//! Promises that an implementation makes, and nothing beyond: a sector of 512 bytes is written whole or not at
//! all; what was written before a `sync_data` that returned `Ok` is there after a crash; names made, changed or
//! removed before a `sync_folder` that returned `Ok` are so after a crash. Everything else may be lost, each
//! sector and each name on its own, in any order.

use std::io;

/// One folder. Names have no separators.
pub trait Disk: Send + Sync + 'static {
    type File: DiskFile;
    /// Holds the folder for one user, until it is dropped.
    type Lock: Send + Sync + 'static;

    /// Takes the folder. `WouldBlock`: someone else has it.
    fn lock(&self) -> io::Result<Self::Lock>;

    /// The files of the folder, in any order, without the lock's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `size` zero bytes, with its space taken from the disk: a later write within it needs no
    /// more. `StorageFull`: there is no room (something may be left under the name). `AlreadyExists`.
    fn create(&self, name: &str, size: u64) -> io::Result<Self::File>;

    /// Opens for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// `to` does not exist.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when all names are as they are now, even after a crash.
    fn sync_folder(&self) -> io::Result<()>;

    /// The folder, as messages name it.
    fn display_path(&self) -> String;
}

/// An open file. It stays readable after its name is removed.
pub trait DiskFile: Send + Sync + 'static {
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer`; `UnexpectedEof` when the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes`. `StorageFull` may leave a part of it written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when all that was written is on the disk.
    fn sync_data(&self) -> io::Result<()>;
}
