//! The leases of a lab network on disk, so that a restarted server gives no address twice.

use std::io;
use std::path::{Path, PathBuf};

use crate::dhcp::lease::Record;

const NAME: &str = "leases.json";

/// The file.
#[derive(Debug, Clone)]
pub struct LeaseFile(PathBuf);

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LeaseFileError {
    #[error("cannot read or write {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: remove it if no machine has an address of it")]
    Damaged { path: PathBuf, source: serde_json::Error },
}

impl LeaseFile {
    /// In a folder that exists.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.join(NAME))
    }

    /// All leases; none without the file.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn read(&self) -> Result<Vec<Record>, LeaseFileError> {
        match std::fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| LeaseFileError::Damaged { path: self.0.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(LeaseFileError::Io { path: self.0.clone(), source }),
        }
    }

    /// Replaces all leases. They are on disk on return.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, records: &[Record]) -> Result<(), LeaseFileError> {
        let written = serde_json::to_vec(records)
            .map_err(io::Error::other)
            .and_then(|bytes| service::file::replace(&self.0, &bytes, 0o644));
        written.map_err(|source| LeaseFileError::Io { path: self.0.clone(), source })
    }
}
