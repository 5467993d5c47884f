//! Folders of published files, and of those in transfer. A folder is published completely or not at all: by a rename.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use release::{Digest, FileName};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::files_error::FilesError;
use crate::limits::FILE_BYTES;
use crate::listed::Listed;
use crate::release_id::ReleaseId;

const PARTIAL: &str = ".part";

/// A folder for each release, below `published` and `uploads`.
#[derive(Debug, Clone)]
pub struct Uploads {
    published: PathBuf,
    uploads: PathBuf,
}

/// A file that was received, and is not in use yet.
#[must_use]
struct Received {
    partial: PathBuf,
    path: PathBuf,
    size: u64,
    sha256: Digest,
}

impl Received {
    /// # Errors
    /// The file cannot be renamed.
    fn accept(self) -> Result<(), FilesError> {
        fs::rename(&self.partial, &self.path).map_err(|error| FilesError::Io(self.partial, error))
    }

    /// Removes the file. Returns `error`.
    fn reject(self, error: FilesError) -> FilesError {
        match fs::remove_file(&self.partial) {
            Ok(()) => error,
            Err(error) => FilesError::Io(self.partial, error),
        }
    }
}

impl Uploads {
    /// # Errors
    /// The folders cannot be created.
    pub fn open(published: PathBuf, uploads: PathBuf) -> Result<Self, FilesError> {
        for folder in [&published, &uploads] {
            fs::create_dir_all(folder).map_err(|error| FilesError::Io(folder.clone(), error))?;
        }
        Ok(Self { published, uploads })
    }

    pub fn published(&self, id: &ReleaseId) -> PathBuf {
        id.below(&self.published)
    }

    pub fn upload(&self, id: &ReleaseId) -> PathBuf {
        id.below(&self.uploads)
    }

    /// The names of the uploaded files of a release.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self, id: &ReleaseId) -> Result<Vec<String>, FilesError> {
        let folder = self.upload(id);
        let failed = |error| FilesError::Io(folder.clone(), error);
        let mut names = Vec::new();
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
                    if !name.ends_with(PARTIAL) {
                        names.push(name);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        names.sort();
        Ok(names)
    }

    /// Receives a file of a release. `size`: of the request's body, if known.
    ///
    /// # Errors
    /// It is not the listed one, the upload was interrupted, or writing failed.
    pub fn receive_listed(
        &self,
        id: &ReleaseId,
        file: Listed<'_>,
        chunks: mpsc::Receiver<Bytes>,
        size: Option<u64>,
    ) -> Result<(), FilesError> {
        let received = self.receive(id, file.name, chunks, (file.size, size))?;
        match file.verify(received.size, received.sha256) {
            Ok(()) => received.accept(),
            Err(error) => Err(received.reject(error)),
        }
    }

    /// Receives the list of a release's files, of at most `limit` bytes. Files that were received for another list are
    /// removed.
    ///
    /// # Errors
    /// `check` fails, the upload was interrupted, or writing failed.
    pub fn receive_list(
        &self,
        id: &ReleaseId,
        name: &FileName,
        chunks: mpsc::Receiver<Bytes>,
        (limit, size): (usize, Option<u64>),
        check: impl FnOnce(&[u8]) -> Result<(), FilesError>,
    ) -> Result<(), FilesError> {
        let received = self.receive(id, name, chunks, (to_u64(limit), size))?;
        let failed = |error| FilesError::Io(received.partial.clone(), error);
        let bytes = fs::read(&received.partial).map_err(failed)?;
        check(&bytes)?;
        if fs::read(&received.path).is_ok_and(|before| before != bytes) {
            self.remove_upload(id)?;
            fs::create_dir_all(self.upload(id)).map_err(failed)?;
            let write = || {
                let mut file = File::create(&received.partial)?;
                file.write_all(&bytes)?;
                file.sync_all()
            };
            write().map_err(failed)?;
        }
        received.accept()
    }

    /// Writes a file of at most `limit` bytes.
    fn receive(
        &self,
        id: &ReleaseId,
        name: &FileName,
        chunks: mpsc::Receiver<Bytes>,
        (limit, size): (u64, Option<u64>),
    ) -> Result<Received, FilesError> {
        let folder = self.upload(id);
        fs::create_dir_all(&folder).map_err(|error| FilesError::Io(folder.clone(), error))?;
        let partial = folder.join(format!("{name}{PARTIAL}"));
        let written = write_chunks(&partial, chunks, limit.min(FILE_BYTES));
        let (found, sha256) = written.map_err(|error| {
            // A full disk does not stay full. The first error matters more.
            fs::remove_file(&partial).unwrap_or_default();
            FilesError::Io(partial.clone(), error)
        })?;
        let path = folder.join(name.as_str());
        let received = Received { partial, path, size: found, sha256 };
        if found > limit {
            let name = name.to_string();
            return Err(received.reject(FilesError::Size { name, found, wanted: limit }));
        }
        match size.is_some_and(|size| size != found) {
            true => Err(received.reject(FilesError::Interrupted)),
            false => Ok(received),
        }
    }

    /// Moves the uploaded folder to the published ones.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn publish(&self, id: &ReleaseId) -> Result<(), FilesError> {
        let (upload, folder) = (self.upload(id), self.published(id));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| FilesError::Io(path, error)
        };
        let parent = folder.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(failed(parent))?;
        sync(&upload).map_err(failed(&upload))?;
        fs::rename(&upload, &folder).map_err(failed(&folder))?;
        sync(parent).map_err(failed(parent))
    }

    /// # Errors
    /// The folder of the upload cannot be removed.
    pub fn remove_upload(&self, id: &ReleaseId) -> Result<(), FilesError> {
        let folder = self.upload(id);
        fs::remove_dir_all(&folder).map_err(|error| FilesError::Io(folder.clone(), error))
    }

    /// Removes a published folder. Downloads of a file that is already open complete.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self, id: &ReleaseId) -> Result<(), FilesError> {
        let folder = self.published(id);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FilesError::Io(folder, error)),
            _ => Ok(()),
        }
    }
}

pub fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes the chunks to a file and stops when `limit` is exceeded. Returns the size and digest.
fn write_chunks(path: &Path, mut chunks: mpsc::Receiver<Bytes>, limit: u64) -> io::Result<(u64, Digest)> {
    let mut file = File::create(path)?;
    let (mut size, mut hash) = (0_u64, Sha256::new());
    while let Some(chunk) = chunks.blocking_recv() {
        size += to_u64(chunk.len());
        if size > limit {
            break;
        }
        hash.update(&chunk);
        file.write_all(&chunk)?;
    }
    file.sync_all()?;
    Ok((size, Digest(hash.finalize().into())))
}
