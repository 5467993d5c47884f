//! Files that appear atomically under their name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Published files are world-readable.
const FILE_MODE: u32 = 0o644;

/// A file that could not be written, or not made durable.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct WriteError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Overwrites the remains of a killed run.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: BufWriter<File>,
    partial: PathBuf,
    pub length: u64,
}

impl AtomicFile {
    pub(crate) fn create(path: &Path) -> Result<Self, WriteError> {
        let partial = path.with_added_extension("partial");
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&partial);
        let file = file.map_err(|source| WriteError { path: partial.clone(), source })?;
        Ok(Self { file: BufWriter::new(file), partial, length: 0 })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|source| WriteError { path: self.partial.clone(), source })
    }

    /// Durable under its name on return.
    pub(crate) fn commit(self, path: &Path) -> Result<(), WriteError> {
        let rename = || {
            self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&self.partial, path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        rename().map_err(|source| WriteError { path: path.to_owned(), source })
    }
}
