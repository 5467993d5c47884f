//! Records that this machine may hold the reboot lock, so that a daemon with another strategy or of a later
//! boot releases it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::io::fleet::CordonFile;

/// Created before the lock is requested, removed once it is certainly not held.
pub struct LockMarker(PathBuf);

impl LockMarker {
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("lock-requested"))
    }

    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    pub fn create(&self) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        service::file::replace(&self.0, b"", 0o644)
    }

    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether this machine may hold the lock or is drained for a reboot.
pub fn is_release_due(folder: &Path) -> bool {
    LockMarker::in_folder(folder).exists()
        || CordonFile::in_folder(folder).read().is_ok_and(|cordon| cordon.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_exists_until_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        assert!(!is_release_due(&folder));
        let marker = LockMarker::in_folder(&folder);
        marker.remove().unwrap();
        marker.create().unwrap();
        marker.create().unwrap();
        assert!(marker.exists() && is_release_due(&folder));
        marker.remove().unwrap();
        assert!(!is_release_due(&folder));
    }
}
