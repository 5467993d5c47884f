//! Folders flushed to the disk: a file that was renamed into its place stands there after a power cut only when its
//! folder was flushed too, and that folder is found only when those above it were.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::fsync;

use crate::root::{FileError, Root};

/// Flushes all folders above these paths. One that is gone by now has nothing to lose.
///
/// # Errors
/// A folder that cannot be flushed; the others are flushed nevertheless.
pub fn above<'a>(root: &Root, paths: impl IntoIterator<Item = &'a str>) -> Result<(), FileError> {
    let mut folders = BTreeSet::new();
    for path in paths {
        let mut rest = path;
        while let Some((folder, _)) = rest.rsplit_once('/') {
            if !folders.insert(folder) {
                break;
            }
            rest = folder;
        }
    }
    let mut flushed = Ok(());
    // What stands lower first: a name that can be found has what it names.
    for folder in folders.iter().rev() {
        flushed = flushed.and(flush(root, folder));
    }
    flushed
}

fn flush(root: &Root, folder: &str) -> Result<(), FileError> {
    let folder = if folder.is_empty() { "/" } else { folder };
    match root.resolve(folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(fd) => match fsync(&fd) {
            // A file system that has nothing to flush says so.
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
    fn what_is_gone_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let root = Root::open(folder.path()).unwrap();
        above(&root, ["/a/b/c", "/a/x", "/gone/y", "/file/z", "/w"]).unwrap();
    }
}
