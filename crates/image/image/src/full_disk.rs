//! Tells a full disk from other failures, and which disk it is.
//!
//! A build writes into several folders, and half of its writers are programs that only say so in words.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// What the C library and apt say; tools run with `LC_ALL=C.UTF-8`.
const SAID: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Which folder's disk had no room left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room on the disk of {folder} ({free} of {total} MiB are free): \
     make room there, or choose another folder, and run the same command again"
)]
pub struct FullDisk {
    pub folder: PathBuf,
    /// MiB.
    pub free: u64,
    /// MiB.
    pub total: u64,
}

impl FullDisk {
    /// Where `error` goes back to a full disk: the one of `folders` whose disk has the least room.
    #[must_use]
    pub fn behind(error: &(dyn Error + 'static), folders: &[PathBuf]) -> Option<Self> {
        let mut chain = std::iter::successors(Some(error), |&error| error.source());
        if !chain.any(is_about_room) {
            return None;
        }
        folders.iter().filter_map(|folder| Self::look(folder)).min_by_key(|disk| disk.free)
    }

    fn look(folder: &Path) -> Option<Self> {
        let disk = statvfs(folder).ok()?;
        let mebibytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size()) >> 20;
        Some(Self {
            folder: folder.to_path_buf(),
            free: mebibytes(disk.blocks_available()),
            total: mebibytes(disk.blocks()),
        })
    }
}

fn is_about_room(error: &(dyn Error + 'static)) -> bool {
    let by_kind = error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    });
    let said = error.to_string();
    by_kind || SAID.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::ToolError;
    use crate::tree::TreeError;

    #[test]
    fn only_a_full_disk_is_called_full() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_path_buf(), folder.path().join("not there")];
        let at = |source| TreeError { path: "x".into(), source };
        let full = FullDisk::behind(&at(io::Error::from(io::ErrorKind::StorageFull)), &folders).unwrap();
        assert_eq!(full.folder, folders[0]);
        let said = ToolError::Failed {
            program: "mkfs".into(),
            status: "1".into(),
            output: "write: No space left on device".into(),
        };
        assert!(FullDisk::behind(&said, &folders).is_some());
        let other = at(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(FullDisk::behind(&other, &folders), None);
    }
}
