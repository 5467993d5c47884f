//! Removal of names in the tree. Links are not followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;

use nix::unistd::{UnlinkatFlags, unlinkat};

use super::entry_error::EntryError;
use super::place::{Place, is_directory};
use crate::folder;

/// Removes a name, with everything below it.
pub fn remove(folder: &File, name: &OsStr, is_folder: bool) -> Result<(), EntryError> {
    if !is_folder {
        return unlink(folder, name, UnlinkatFlags::NoRemoveDir);
    }
    let parent = folder.try_clone().map_err(EntryError::system("open the folder of"))?;
    let removed = Place { folder: parent, inode: 0, name }.open_directory()?;
    for child in names(&removed)? {
        let parent = removed.try_clone().map_err(EntryError::system("open"))?;
        let status = Place { folder: parent, inode: 0, name: &child }.status()?;
        remove(&removed, &child, status.is_some_and(|status| is_directory(&status)))?;
    }
    unlink(folder, name, UnlinkatFlags::RemoveDir)
}

pub fn unlink(folder: &File, name: &OsStr, how: UnlinkatFlags) -> Result<(), EntryError> {
    unlinkat(folder, name, how).map_err(|error| EntryError::system("remove")(error.into()))
}

/// The names in a folder.
pub fn names(folder: &File) -> Result<Vec<OsString>, EntryError> {
    folder::names(folder).map_err(EntryError::system("list"))
}
