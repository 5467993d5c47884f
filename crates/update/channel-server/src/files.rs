//! The files of releases: sent here piece by piece, checked, and served with ranges.
//!
//! A release is in its folder whole or not at all: what is being sent stands elsewhere until every file of it is there
//! and its digest was seen to match.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use release::{Blob, Digest, FileName, Keys, MAX_RELEASE, MAX_SIGNATURE, Release, files};
use rollout::Package;
use semver::Version;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::limits::{FILE_BYTES, PIECE};
use crate::place::{Place, RELEASES};

const UPLOADS: &str = "uploads";
const UNFINISHED: &str = ".part";

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} was not sent yet")]
    Missing(String),
    #[error("{0} is no file of this release")]
    Foreign(String),
    #[error("{name} has {found} bytes, not {wanted}")]
    Size { name: String, found: u64, wanted: u64 },
    #[error("{name} has SHA-256 {found}, not {wanted}")]
    Digest { name: String, found: Digest, wanted: Digest },
    #[error("release.json cannot be taken")]
    Metadata(#[from] release::MetadataError),
    #[error("release.json says {0}")]
    Other(String),
    #[error("release.json.sig is no text")]
    NoSignature,
    #[error("release.json is not signed by a key that this server knows")]
    Signature(#[from] release::SignatureError),
    #[error("version {0} is here already with another release.json: what was published never changes")]
    Different(Version),
    #[error("what was sent broke off")]
    BrokenOff,
}

#[derive(Debug, Clone)]
pub struct Files {
    releases: PathBuf,
    uploads: PathBuf,
}

impl Files {
    /// # Errors
    /// The folders cannot be made.
    pub fn open(data: &Path) -> Result<Self, FilesError> {
        let (releases, uploads) = (data.join(RELEASES), data.join(UPLOADS));
        for folder in [&releases, &uploads] {
            fs::create_dir_all(folder).map_err(|error| FilesError::Io(folder.clone(), error))?;
        }
        Ok(Self { releases, uploads })
    }

    fn folder(&self, place: &Place, is_upload: bool) -> PathBuf {
        let root = if is_upload { &self.uploads } else { &self.releases };
        place.below(root)
    }

    /// A file of a release that is here whole.
    pub fn path(&self, place: &Place, name: &FileName) -> PathBuf {
        self.folder(place, false).join(name.as_str())
    }

    /// The names of what was sent of a release.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sent(&self, place: &Place) -> Result<Vec<String>, FilesError> {
        let folder = self.folder(place, true);
        let failed = |error| FilesError::Io(folder.clone(), error);
        let mut names = Vec::new();
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
                    if !name.ends_with(UNFINISHED) {
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

    /// Takes one file of a release. `release.json` comes first: it says what the others have to be.
    ///
    /// # Errors
    /// It is not what `release.json` says, broke off, or cannot be written.
    pub fn take(
        &self,
        place: &Place,
        name: &FileName,
        pieces: mpsc::Receiver<Bytes>,
        size: Option<u64>,
    ) -> Result<(), FilesError> {
        let folder = self.folder(place, true);
        fs::create_dir_all(&folder).map_err(|error| FilesError::Io(folder.clone(), error))?;
        let limit = match name.as_str() {
            files::RELEASE => to_u64(MAX_RELEASE),
            files::RELEASE_SIGNATURE => to_u64(MAX_SIGNATURE),
            other => {
                let release = read_release(&folder)?;
                let blob = release.blobs().find(|blob| blob.url.as_str() == other);
                blob.ok_or_else(|| FilesError::Foreign(other.to_owned()))?.size
            }
        };
        let path = folder.join(name.as_str());
        let part = folder.join(format!("{name}{UNFINISHED}"));
        let failed = |error| FilesError::Io(part.clone(), error);
        let (found, digest) = write(&part, pieces, limit.min(FILE_BYTES)).map_err(failed)?;
        let too_long = found > limit;
        if too_long || size.is_some_and(|size| size != found) {
            fs::remove_file(&part).map_err(failed)?;
            if !too_long {
                return Err(FilesError::BrokenOff);
            }
            return Err(FilesError::Size { name: name.to_string(), found, wanted: limit });
        }
        match name.as_str() {
            files::RELEASE => {
                let bytes = fs::read(&part).map_err(failed)?;
                check(&Release::parse(&bytes)?, place)?;
                // What was sent for another release.json is nothing for this one.
                if fs::read(&path).is_ok_and(|before| before != bytes) {
                    self.forget_upload(place)?;
                    fs::create_dir_all(&folder).map_err(failed)?;
                    fs::write(&part, &bytes).map_err(failed)?;
                }
            }
            files::RELEASE_SIGNATURE => {}
            _ => {
                let release = read_release(&folder)?;
                let blob = release.blobs().find(|blob| blob.url == *name);
                let blob = blob.ok_or_else(|| FilesError::Foreign(name.to_string()))?;
                if let Err(error) = matches(blob, found, digest) {
                    fs::remove_file(&part).map_err(failed)?;
                    return Err(error);
                }
            }
        }
        fs::rename(&part, &path).map_err(failed)
    }

    /// Makes of what was sent a release that can be served, and says what it is. Once more for the same is fine.
    /// With `files_at` only the metadata has to be here.
    ///
    /// # Errors
    /// Something is missing, not what was signed, or not signed.
    pub fn finish(
        &self,
        place: &Place,
        keys: &Keys,
        files_at: Option<String>,
        now: u64,
    ) -> Result<Package, FilesError> {
        let (upload, folder) = (self.folder(place, true), self.folder(place, false));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| FilesError::Io(path, error)
        };
        let is_here = folder.join(files::RELEASE).exists();
        if is_here && upload.join(files::RELEASE).exists() {
            let read = |folder: &Path| fs::read(folder.join(files::RELEASE)).map_err(failed(folder));
            if read(&upload)? != read(&folder)? {
                return Err(FilesError::Different(place.version.clone()));
            }
        }
        let source = if is_here { &folder } else { &upload };
        let release = read_release(source)?;
        check(&release, place)?;
        let bytes = fs::read(source.join(files::RELEASE)).map_err(failed(source))?;
        let signature = source.join(files::RELEASE_SIGNATURE);
        let signature = match fs::read(&signature) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| FilesError::NoSignature)?,
            Err(_) => return Err(FilesError::Missing(files::RELEASE_SIGNATURE.to_owned())),
        };
        if !keys.is_empty() {
            keys.verify(&bytes, &signature)?;
        }
        let mut sha1 = String::new();
        if files_at.is_none() {
            for blob in release.blobs() {
                let (size, sha256, other) = read_again(source, blob)?;
                matches(blob, size, sha256)?;
                if blob.url == release.full.blob.url {
                    sha1 = other;
                }
            }
        }
        if !is_here {
            let parent = folder.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).map_err(failed(parent))?;
            sync(&upload).map_err(failed(&upload))?;
            fs::rename(&upload, &folder).map_err(failed(&folder))?;
            sync(parent).map_err(failed(parent))?;
        } else if upload.exists() {
            self.forget_upload(place)?;
        }
        let metadata = [(files::RELEASE, &*bytes), (files::RELEASE_SIGNATURE, signature.as_bytes())];
        Ok(package(&release, place, metadata, sha1, files_at, now))
    }

    fn forget_upload(&self, place: &Place) -> Result<(), FilesError> {
        let folder = self.folder(place, true);
        fs::remove_dir_all(&folder).map_err(|error| FilesError::Io(folder.clone(), error))
    }

    /// Removes what was published. Machines that are fetching it finish the file they are at.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self, place: &Place) -> Result<(), FilesError> {
        let folder = self.folder(place, false);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FilesError::Io(folder, error)),
            _ => Ok(()),
        }
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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

fn check(release: &Release, place: &Place) -> Result<(), FilesError> {
    let arch = omaha::architecture(&release.board, None);
    if release.version != place.version {
        return Err(FilesError::Other(format!("version {}, not {}", release.version, place.version)));
    }
    if arch != place.arch {
        return Err(FilesError::Other(format!(
            "board {}, which is {arch}, not {}",
            release.board, place.arch
        )));
    }
    if !omaha::same_app(&release.appid, &place.app) {
        return Err(FilesError::Other(format!("appid {}, not {}", release.appid, place.app)));
    }
    Ok(())
}

fn matches(blob: &Blob, size: u64, sha256: Digest) -> Result<(), FilesError> {
    let name = || blob.url.to_string();
    if size != blob.size {
        return Err(FilesError::Size { name: name(), found: size, wanted: blob.size });
    }
    if sha256 != blob.sha256 {
        return Err(FilesError::Digest { name: name(), found: sha256, wanted: blob.sha256 });
    }
    Ok(())
}

/// Writes what comes, but no more than one byte beyond `limit`; how much it was, and its digest.
fn write(path: &Path, mut pieces: mpsc::Receiver<Bytes>, limit: u64) -> io::Result<(u64, Digest)> {
    let mut file = File::create(path)?;
    let (mut size, mut hash) = (0_u64, Sha256::new());
    while let Some(piece) = pieces.blocking_recv() {
        size += to_u64(piece.len());
        if size > limit {
            break;
        }
        hash.update(&piece);
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok((size, Digest(hash.finalize().into())))
}

/// Size, SHA-256, and SHA-1 in base64 of what is on the disk.
fn read_again(folder: &Path, blob: &Blob) -> Result<(u64, Digest, String), FilesError> {
    let path = folder.join(blob.url.as_str());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FilesError::Missing(blob.url.to_string()),
        _ => FilesError::Io(path.clone(), error),
    };
    let mut file = File::open(&path).map_err(failed)?;
    let (mut sha256, mut sha1, mut size) = (Sha256::new(), Sha1::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            break;
        }
        size += to_u64(count);
        sha256.update(&piece[..count]);
        sha1.update(&piece[..count]);
    }
    Ok((size, Digest(sha256.finalize().into()), STANDARD.encode(sha1.finalize())))
}

fn package(
    release: &Release,
    place: &Place,
    metadata: [(&str, &[u8]); 2],
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
    let digest = |bytes: &[u8]| Digest(Sha256::digest(bytes).into()).to_string();
    let written = metadata.map(|(name, bytes)| rollout::File {
        name: name.to_owned(),
        size: to_u64(bytes.len()),
        sha256: digest(bytes),
        sha1: String::new(),
    });
    let release_sha256 = Some(written[0].sha256.clone());
    let main = &release.full.blob;
    let others = release.blobs().filter(|blob| blob.url != main.url).map(|blob| file(blob, String::new()));
    Package {
        version: release.version.clone(),
        arch: place.arch.clone(),
        board: release.board.clone(),
        payload: file(main, sha1),
        further: written.into_iter().chain(others).collect(),
        files_at,
        channels: release.channels.clone(),
        min_from: release.min_from.clone(),
        release_sha256,
        notes_url: release.notes_url.clone(),
        created: now,
        banned: None,
        blacklist: std::collections::BTreeSet::new(),
    }
}
