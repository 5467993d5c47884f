//! The machines that are installed (`install = "once"`): one file each in a folder, so that the operator removes one
//! to install its machine again.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::limits::INSTALLED;
use crate::machine::Mac;

/// The folder.
#[derive(Debug, Clone)]
pub struct Installed {
    folder: PathBuf,
}

/// Why a machine cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum InstalledError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} has {INSTALLED} machines: remove the files of old ones")]
    Full(PathBuf),
}

impl Installed {
    /// Creates the folder, with its parents.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(folder: &Path) -> Result<Self, InstalledError> {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|source| InstalledError::Io { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, mac: Mac) -> PathBuf {
        self.folder.join(format!("{}.json", mac.with_hyphens()))
    }

    /// Whether the machine is installed.
    #[must_use]
    pub fn has(&self, mac: Mac) -> bool {
        self.path(mac).exists()
    }

    /// Records a machine at `time`; it is on disk on return. Nothing changes if it is recorded already.
    ///
    /// # Errors
    /// The folder cannot be written, or is full.
    pub fn add(&self, mac: Mac, time: &str) -> Result<(), InstalledError> {
        let path = self.path(mac);
        let failed = |source| InstalledError::Io { path: self.folder.clone(), source };
        if path.exists() {
            return Ok(());
        }
        if self.folder.read_dir().map_err(failed)?.count() >= INSTALLED {
            return Err(InstalledError::Full(self.folder.clone()));
        }
        let text = format!("{:#}\n", json!({ "mac": mac, "installed": time }));
        let written = service::file::replace(&path, text.as_bytes(), 0o644);
        written.map_err(|source| InstalledError::Io { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_installed_until_its_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/installed");
        let mac: Mac = "52:54:00:12:34:56".parse().unwrap();
        let installed = Installed::open(&path).unwrap();
        assert!(!installed.has(mac));
        installed.add(mac, "2026-01-01T00:00:00Z").unwrap();
        installed.add(mac, "2026-01-02T00:00:00Z").unwrap();
        let installed = Installed::open(&path).unwrap();
        assert!(installed.has(mac));
        let file = path.join("52-54-00-12-34-56.json");
        assert!(std::fs::read_to_string(&file).unwrap().contains("2026-01-01T00:00:00Z"));
        std::fs::remove_file(file).unwrap();
        assert!(!installed.has(mac));
        std::fs::remove_dir(&path).unwrap();
        assert!(matches!(installed.add(mac, ""), Err(InstalledError::Io { .. })));
    }

    #[test]
    fn requests_do_not_fill_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let installed = Installed::open(folder.path()).unwrap();
        for number in 0..INSTALLED {
            std::fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let error = installed.add(Mac([2; 6]), "").unwrap_err();
        assert!(matches!(error, InstalledError::Full(_)), "{error}");
    }
}
