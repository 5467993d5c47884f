//! Whiteouts: entries by which a layer removes what lower layers have.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;

use nix::unistd::UnlinkatFlags;

use super::entry_error::EntryError;
use super::layer::LayerWriter;
use super::place::{Place, is_directory};
use super::removal::{names, unlink};

/// Behind the prefix: everything in the folder is removed.
const OPAQUE: &[u8] = b".wh..opq";

impl LayerWriter<'_> {
    /// `hidden`: the name behind the prefix. Removes nothing that this layer created.
    pub(super) fn whiteout(&mut self, place: &Place<'_>, hidden: &[u8]) -> Result<(), EntryError> {
        match hidden {
            OPAQUE => self.remove_lower_children(&place.folder, place.inode).map(drop),
            // Other names of this form are aufs's own.
            [b'.', b'w', b'h', b'.', ..] => Ok(()),
            b"" | b"." | b".." => Err(EntryError::Parent),
            hidden => {
                let folder = place.folder.try_clone().map_err(EntryError::system("open the folder of"))?;
                let place = Place { folder, inode: place.inode, name: OsStr::from_bytes(hidden) };
                self.remove_lower(&place).map(drop)
            }
        }
    }

    /// Whether nothing has the name any more.
    fn remove_lower(&self, place: &Place<'_>) -> Result<bool, EntryError> {
        let Some(status) = place.status()? else { return Ok(true) };
        let is_own = self.created.contains(&(place.inode, place.name.as_bytes().into()));
        if !is_directory(&status) {
            if !is_own {
                unlink(&place.folder, place.name, UnlinkatFlags::NoRemoveDir)?;
            }
            return Ok(!is_own);
        }
        let is_empty = self.remove_lower_children(&place.open_directory()?, status.st_ino)?;
        let removed = is_empty && !is_own;
        if removed {
            unlink(&place.folder, place.name, UnlinkatFlags::RemoveDir)?;
        }
        Ok(removed)
    }

    /// Whether the folder is empty then.
    fn remove_lower_children(&self, folder: &File, inode: u64) -> Result<bool, EntryError> {
        let mut is_empty = true;
        for name in names(folder)? {
            let folder = folder.try_clone().map_err(EntryError::system("open the folder of"))?;
            is_empty &= self.remove_lower(&Place { folder, inode, name: &name })?;
        }
        Ok(is_empty)
    }
}
