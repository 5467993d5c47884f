//! Recognizes errors due to a full disk, and finds the disk.
//!
//! A build writes to several folders, and tools report a full disk only in their output.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// Messages of the C library and apt; tools run with `LC_ALL=C.UTF-8`.
const MESSAGES: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// The folder whose disk is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of {folder} is full ({free} of {total} MiB are free): \
     free some space or use another folder, and run the same command again"
)]
pub struct DiskFull {
    pub folder: PathBuf,
    /// MiB.
    pub free: u64,
    /// MiB.
    pub total: u64,
}

impl DiskFull {
    /// If a full disk caused `error`: the one of `folders` with the least free space.
    #[must_use]
    pub fn from_error(error: &(dyn Error + 'static), folders: &[PathBuf]) -> Option<Self> {
        let mut chain = std::iter::successors(Some(error), |&error| error.source());
        if !chain.any(is_out_of_space) {
            return None;
        }
        folders.iter().filter_map(|folder| Self::measure(folder)).min_by_key(|disk| disk.free)
    }

    fn measure(folder: &Path) -> Option<Self> {
        let disk = statvfs(folder).ok()?;
        let mebibytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size()) >> 20;
        Some(Self {
            folder: folder.to_path_buf(),
            free: mebibytes(disk.blocks_available()),
            total: mebibytes(disk.blocks()),
        })
    }
}

fn is_out_of_space(error: &(dyn Error + 'static)) -> bool {
    let by_kind = error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    });
    let message = error.to_string();
    by_kind || MESSAGES.iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::ToolError;
    use crate::tree::TreeError;

    #[test]
    fn only_a_full_disk_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_path_buf(), folder.path().join("not there")];
        let at = |source| TreeError { path: "x".into(), source };
        let full = DiskFull::from_error(&at(io::Error::from(io::ErrorKind::StorageFull)), &folders).unwrap();
        assert_eq!(full.folder, folders[0]);
        let message = ToolError::Failed {
            program: "mkfs".into(),
            status: "1".into(),
            output: "write: No space left on device".into(),
        };
        assert!(DiskFull::from_error(&message, &folders).is_some());
        let other = at(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(DiskFull::from_error(&other, &folders), None);
    }
}
