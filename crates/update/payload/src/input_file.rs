//! Input images with known digests.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::target::ReadAt;
use release::Digest;

const CHUNK_BYTES: usize = 1 << 20;

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct ReadError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

#[derive(Debug)]
pub(crate) struct InputFile {
    pub path: PathBuf,
    pub file: File,
    pub size: u64,
    pub sha256: Digest,
}

impl InputFile {
    pub(crate) fn read(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).at(path)?;
        let size = ReadAt::size(&file).at(path)?;
        let sha256 = digest(&file, size).at(path)?;
        Ok(Self { path: path.to_owned(), file, size, sha256 })
    }

    pub(crate) fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        // invariant: a segment or its old range, both of limited size.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.file.read_at(&mut bytes, offset).at(&self.path)?;
        Ok(bytes)
    }
}

pub(crate) trait PathContext<T> {
    fn at(self, path: &Path) -> Result<T, ReadError>;
}

impl<T> PathContext<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, ReadError> {
        self.map_err(|source| ReadError { path: path.to_owned(), source })
    }
}

pub(crate) fn digest(file: &File, size: u64) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        file.read_at(&mut buffer[..length], offset)?;
        hasher.update(&buffer[..length]);
        offset += length as u64;
    }
    Ok(Digest::from_hasher(hasher))
}
