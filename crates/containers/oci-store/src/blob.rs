//! Writing content: to a temporary file, hashed on the way, renamed to its digest when it is complete and on disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use oci_image::{Blob, Digest};
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

use crate::store_error::StoreError;

/// Prefix of files of interrupted transfers, which resume.
pub const PARTIAL: &str = "partial-";
const BUFFER: usize = 1 << 16;

/// Content that is not complete yet.
pub struct BlobWriter {
    file: File,
    path: PathBuf,
    /// Removes the file on drop. `None` for a transfer that may resume.
    temporary: Option<TempPath>,
    hasher: Sha256,
    size: u64,
}

impl BlobWriter {
    pub fn new(folder: &Path) -> Result<Self, StoreError> {
        let file = tempfile::Builder::new().prefix("blob-").tempfile_in(folder);
        let (file, path) =
            file.map_err(|source| StoreError::new("create a file in", folder, source))?.into_parts();
        Ok(Self { file, path: path.to_path_buf(), temporary: Some(path), hasher: Sha256::new(), size: 0 })
    }

    /// Continues an interrupted transfer, or begins it. The caller holds the blob's lock.
    pub fn resume(folder: &Path, digest: Digest) -> Result<Self, StoreError> {
        let path = folder.join(format!("{PARTIAL}{}", digest.hex()));
        let read = || {
            let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
            let mut hasher = Sha256::new();
            let size = hash(&mut file, &mut hasher)?;
            Ok(Self { file, path: path.clone(), temporary: None, hasher, size })
        };
        read().map_err(|source| StoreError::new("resume", &path, source))
    }

    /// The number of bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Discards all bytes so far.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        let restarted = self.file.set_len(0).and_then(|()| self.file.rewind());
        restarted.map_err(|source| StoreError::new("truncate", &self.path, source))?;
        (self.hasher, self.size) = (Sha256::new(), 0);
        Ok(())
    }

    /// The digest and length of what was written.
    pub fn content(&self) -> Blob {
        Blob { digest: Digest::from_hasher(self.hasher.clone()), size: self.size }
    }

    /// Removes the file of a transfer whose bytes are wrong.
    pub fn discard(self) -> Result<(), StoreError> {
        match self.temporary {
            Some(_) => Ok(()),
            None => {
                fs::remove_file(&self.path).map_err(|source| StoreError::new("remove", &self.path, source))
            }
        }
    }

    /// Moves the file to the folder of blobs, where its digest is its name.
    pub fn commit(self, blobs: &Path) -> Result<Blob, StoreError> {
        let content = self.content();
        let target = blobs.join(content.digest.hex());
        let failed = |source| StoreError::new("write", &target, source);
        self.file.sync_all().map_err(failed)?;
        match self.temporary {
            Some(path) => path.persist(&target).map_err(|error| failed(error.error))?,
            None => fs::rename(&self.path, &target).map_err(failed)?,
        }
        sync_folder(blobs)?;
        Ok(content)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Hashes the rest of a file and returns its length.
pub fn hash(from: &mut impl Read, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes renames in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| StoreError::new("flush", folder, source))
}
