//! Syncs folders: after a power loss a renamed file exists only if its folder was synced, and that folder only
//! if its parents were.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::fsync;

use crate::root::{FileError, Root};

/// Syncs all folders above these paths, and skips missing ones.
///
/// # Errors
/// A folder cannot be synced; the others are synced nevertheless.
pub fn parent_folders<'a>(root: &Root, paths: impl IntoIterator<Item = &'a str>) -> Result<(), FileError> {
    let mut folders = BTreeSet::new();
    for path in paths {
        let mut remaining = path;
        while let Some((folder, _)) = remaining.rsplit_once('/') {
            if !folders.insert(folder) {
                break;
            }
            remaining = folder;
        }
    }
    let mut result = Ok(());
    // Deepest first, so that a reachable name always has its contents.
    for folder in folders.iter().rev() {
        result = result.and(flush(root, folder));
    }
    result
}

fn flush(root: &Root, folder: &str) -> Result<(), FileError> {
    let folder = if folder.is_empty() { "/" } else { folder };
    match root.resolve(folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(fd) => match fsync(&fd) {
            // EINVAL: the file system does not support fsync on folders.
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(error) => Err(FileError::system("flush", folder, error)),
        },
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        Err(error) => Err(FileError::system("open", folder, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_folders_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let root = Root::open(folder.path()).unwrap();
        parent_folders(&root, ["/a/b/c", "/a/x", "/gone/y", "/file/z", "/w"]).unwrap();
    }
}
