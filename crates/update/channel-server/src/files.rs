//! The files of releases: uploaded one by one, verified, and served.
//!
//! A release is published completely or not at all. Uploads are kept in a separate folder until every file is present
//! and its digest matches.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use release::{Blob, Digest, FileName, MAX_RELEASE, Release, files};
use rollout::Package;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tuf::Targets;

use crate::files_error::FilesError;
use crate::listed::Listed;
use crate::release_id::{RELEASES, ReleaseId};
use crate::repository::check_listed;
use crate::uploads::{Uploads, to_u64};

const UPLOADS: &str = "uploads";

#[derive(Debug, Clone)]
pub struct Files {
    folders: Uploads,
}

impl Files {
    /// # Errors
    /// The folders cannot be created.
    pub fn open(data: &Path) -> Result<Self, FilesError> {
        Ok(Self { folders: Uploads::open(data.join(RELEASES), data.join(UPLOADS))? })
    }

    /// The path of a published file.
    pub fn path(&self, id: &ReleaseId, name: &FileName) -> PathBuf {
        self.folders.published(id).join(name.as_str())
    }

    /// The description of a published version.
    ///
    /// # Errors
    /// The version is not published, or the file cannot be read.
    pub fn release(&self, id: &ReleaseId) -> Result<Release, FilesError> {
        read_release(&self.folders.published(id))
    }

    /// The names of the uploaded files of a release.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn uploaded(&self, id: &ReleaseId) -> Result<Vec<String>, FilesError> {
        self.folders.names(id)
    }

    /// Receives one file of a release. `release.json` comes first, since it lists the others.
    ///
    /// # Errors
    /// The file does not match `release.json`, the upload was interrupted, or writing failed.
    pub fn receive(
        &self,
        id: &ReleaseId,
        name: &FileName,
        chunks: mpsc::Receiver<Bytes>,
        size: Option<u64>,
    ) -> Result<(), FilesError> {
        if name.as_str() != files::RELEASE {
            let release = read_release(&self.folders.upload(id))?;
            let blob = release.blobs().find(|blob| blob.url == *name);
            let blob = blob.ok_or_else(|| FilesError::UnknownFile(name.to_string()))?;
            return self.folders.receive_listed(id, blob.into(), chunks, size);
        }
        let check = |bytes: &[u8]| check_identity(&Release::parse(bytes)?, id);
        self.folders.receive_list(id, name, chunks, (MAX_RELEASE, size), check)
    }

    /// Publishes an uploaded release. Idempotent. With `files_at` only the metadata has to be uploaded.
    ///
    /// # Errors
    /// A file is missing or does not match, or `targets` do not list the release.
    pub fn publish(
        &self,
        id: &ReleaseId,
        targets: &Targets,
        files_at: Option<String>,
        now: u64,
    ) -> Result<Package, FilesError> {
        let (upload, folder) = (self.folders.upload(id), self.folders.published(id));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| FilesError::Io(path, error)
        };
        let is_published = folder.join(files::RELEASE).exists();
        if is_published && upload.join(files::RELEASE).exists() {
            let read = |folder: &Path| fs::read(folder.join(files::RELEASE)).map_err(failed(folder));
            if read(&upload)? != read(&folder)? {
                return Err(FilesError::AlreadyPublished(id.version.clone()));
            }
        }
        let source = if is_published { &folder } else { &upload };
        let release = read_release(source)?;
        check_identity(&release, id)?;
        let bytes = fs::read(source.join(files::RELEASE)).map_err(failed(source))?;
        check_listed(targets, &release.board, &id.version, &bytes)?;
        let mut sha1 = String::new();
        if files_at.is_none() {
            for blob in release.blobs() {
                let mut hash = Sha1::new();
                Listed::from(blob).verify_in(source, |chunk| hash.update(chunk))?;
                if blob.url == release.full.blob.url {
                    sha1 = STANDARD.encode(hash.finalize());
                }
            }
        }
        if !is_published {
            self.folders.publish(id)?;
        } else if upload.exists() {
            self.folders.remove_upload(id)?;
        }
        Ok(package(&release, id, &bytes, sha1, files_at, now))
    }

    /// Removes a published release. Downloads of a file that is already open complete.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self, id: &ReleaseId) -> Result<(), FilesError> {
        self.folders.remove(id)
    }
}

fn read_release(folder: &Path) -> Result<Release, FilesError> {
    match fs::read(folder.join(files::RELEASE)) {
        Ok(bytes) => Ok(Release::parse(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FilesError::Missing(files::RELEASE.to_owned()))
        }
        Err(error) => Err(FilesError::Io(folder.to_owned(), error)),
    }
}

fn check_identity(release: &Release, id: &ReleaseId) -> Result<(), FilesError> {
    let arch = omaha::architecture(&release.board, None);
    if release.version != id.version {
        return Err(FilesError::Mismatch(format!("version {}, expected {}", release.version, id.version)));
    }
    if arch != id.arch {
        return Err(FilesError::Mismatch(format!("board {} ({arch}), expected {}", release.board, id.arch)));
    }
    if !omaha::same_app(&release.appid, &id.app) {
        return Err(FilesError::Mismatch(format!("appid {}, expected {}", release.appid, id.app)));
    }
    Ok(())
}

fn package(
    release: &Release,
    id: &ReleaseId,
    bytes: &[u8],
    sha1: String,
    files_at: Option<String>,
    now: u64,
) -> Package {
    let file = |blob: &Blob, sha1: String| rollout::File {
        name: blob.url.to_string(),
        size: blob.size,
        sha256: blob.sha256.to_string(),
        sha1,
    };
    let metadata = rollout::File {
        name: files::RELEASE.to_owned(),
        size: to_u64(bytes.len()),
        sha256: Digest(Sha256::digest(bytes).into()).to_string(),
        sha1: String::new(),
    };
    let release_sha256 = Some(metadata.sha256.clone());
    let main = &release.full.blob;
    let others = release.blobs().filter(|blob| blob.url != main.url).map(|blob| file(blob, String::new()));
    Package {
        version: release.version.clone(),
        arch: id.arch.clone(),
        board: release.board.clone(),
        payload: file(main, sha1),
        further: std::iter::once(metadata).chain(others).collect(),
        files_at,
        channels: release.channels.clone(),
        min_from: release.min_from.clone(),
        release_sha256,
        notes_url: release.notes_url.clone(),
        created: now,
        banned: None,
        blacklist: std::collections::BTreeSet::new(),
        images: None,
    }
}
