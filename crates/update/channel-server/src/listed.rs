//! A file of a release, as the release's list of files states it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use http_server::file::CHUNK_BYTES;
use release::{Blob, Digest, FileName, ImageFile};
use sha2::{Digest as _, Sha256};

use crate::files_error::FilesError;

#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    pub name: &'a FileName,
    pub size: u64,
    pub sha256: Digest,
}

impl<'a> From<&'a Blob> for Listed<'a> {
    fn from(blob: &'a Blob) -> Self {
        Self { name: &blob.url, size: blob.size, sha256: blob.sha256 }
    }
}

impl<'a> From<&'a ImageFile> for Listed<'a> {
    fn from(file: &'a ImageFile) -> Self {
        Self { name: &file.name, size: file.size, sha256: file.sha256 }
    }
}

impl Listed<'_> {
    /// # Errors
    /// The list states another size or digest.
    pub fn verify(self, size: u64, sha256: Digest) -> Result<(), FilesError> {
        let name = || self.name.to_string();
        if size != self.size {
            return Err(FilesError::Size { name: name(), found: size, wanted: self.size });
        }
        if sha256 != self.sha256 {
            return Err(FilesError::Digest { name: name(), found: sha256, wanted: self.sha256 });
        }
        Ok(())
    }

    /// Verifies the file in `folder`, and passes its content to `also` in order.
    ///
    /// # Errors
    /// The file is missing, differs, or cannot be read.
    pub fn verify_in(self, folder: &Path, mut also: impl FnMut(&[u8])) -> Result<(), FilesError> {
        let path = folder.join(self.name.as_str());
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => FilesError::Missing(self.name.to_string()),
            _ => FilesError::Io(path.clone(), error),
        };
        let mut file = File::open(&path).map_err(failed)?;
        let (mut sha256, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            let count = file.read(&mut chunk).map_err(failed)?;
            if count == 0 {
                break;
            }
            size += count as u64;
            sha256.update(&chunk[..count]);
            also(&chunk[..count]);
        }
        self.verify(size, Digest(sha256.finalize().into()))
    }
}
