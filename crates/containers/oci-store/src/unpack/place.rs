//! A name in an open folder of the tree.

use std::ffi::OsStr;
use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::entry_error::EntryError;

/// An open folder of the tree, and a name in it.
pub struct Place<'a> {
    pub folder: File,
    /// The folder's inode number.
    pub inode: u64,
    pub name: &'a OsStr,
}

impl Place<'_> {
    /// What has the name now; links are not followed.
    pub fn status(&self) -> Result<Option<FileStat>, EntryError> {
        match fstatat(&self.folder, self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(EntryError::system("inspect")(error.into())),
        }
    }

    pub fn open_directory(&self) -> Result<File, EntryError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(&self.folder, self.name, flags, Mode::empty());
        opened.map(File::from).map_err(|error| EntryError::system("open")(error.into()))
    }
}

pub fn is_directory(status: &FileStat) -> bool {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}
