//! Paths in archives.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::entry_error::EntryError;

/// Folders of a path, also after links.
pub const MAX_DEPTH: usize = 128;
const MAX_PATH: usize = 4096;
const MAX_COMPONENT: usize = 255;

/// The path below the root. Empty for the root itself.
pub fn clean(name: &[u8]) -> Result<PathBuf, EntryError> {
    if name.len() > MAX_PATH {
        return Err(EntryError::LongPath);
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) if part.len() > MAX_COMPONENT => return Err(EntryError::LongName),
            Component::Normal(part) if part.as_bytes().contains(&0) => return Err(EntryError::Nul),
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(EntryError::Parent),
        }
    }
    if path.components().count() > MAX_DEPTH { Err(EntryError::Depth) } else { Ok(path) }
}
