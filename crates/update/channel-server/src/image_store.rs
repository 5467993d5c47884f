//! The image files of releases: uploaded one by one, verified, and served. Complete or absent, as the releases.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use release::{Digest, FileName, ImageFile, ImageList, MAX_IMAGE_LIST, MetadataError, Release, files};
use sha1::Sha1;
use sha2::{Digest as _, Sha512};
use tokio::sync::mpsc;
use tuf::Targets;

use crate::files_error::FilesError;
use crate::listed::Listed;
use crate::release_id::ReleaseId;
use crate::repository::check_images;
use crate::uploads::{Uploads, to_u64};

/// Subfolders of a server's folder.
const IMAGES: &str = "images";
const UPLOADS: &str = "image-uploads";

/// Digests of a file besides SHA-256, in the order of `.DIGESTS` files.
pub const DIGESTS: [&str; 3] = ["md5", "sha1", "sha512"];

#[derive(Debug, Clone)]
pub struct ImageStore {
    folders: Uploads,
}

impl ImageStore {
    /// # Errors
    /// The folders cannot be created.
    pub fn open(data: &Path) -> Result<Self, FilesError> {
        Ok(Self { folders: Uploads::open(data.join(IMAGES), data.join(UPLOADS))? })
    }

    /// The path of a published file.
    pub fn path(&self, id: &ReleaseId, name: &FileName) -> PathBuf {
        self.folders.published(id).join(name.as_str())
    }

    /// The names of the uploaded files of a release's images.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn uploaded(&self, id: &ReleaseId) -> Result<Vec<String>, FilesError> {
        self.folders.names(id)
    }

    /// Receives one file. `images.json` comes first, since it lists the others.
    ///
    /// # Errors
    /// The file does not match `images.json`, the upload was interrupted, or writing failed.
    pub fn receive(
        &self,
        id: &ReleaseId,
        name: &FileName,
        chunks: mpsc::Receiver<Bytes>,
        size: Option<u64>,
    ) -> Result<(), FilesError> {
        if name.as_str() != files::IMAGES {
            let (list, _) = read_list(&self.folders.upload(id))?;
            let file = list.file(name.as_str()).ok_or_else(|| FilesError::UnknownFile(name.to_string()))?;
            return self.folders.receive_listed(id, file.into(), chunks, size);
        }
        let check =
            |bytes: &[u8]| check_identity(&ImageList::parse(bytes).map_err(FilesError::ImageList)?, id);
        self.folders.receive_list(id, name, chunks, (MAX_IMAGE_LIST, size), check)
    }

    /// Publishes the uploaded images of `release`. Idempotent. With `files_at` only `images.json` has to be uploaded.
    ///
    /// # Errors
    /// A file is missing or does not match, `targets` do not list the images, or they are of another release.
    pub fn publish(
        &self,
        id: &ReleaseId,
        release: &Release,
        targets: &Targets,
        files_at: Option<String>,
    ) -> Result<rollout::Images, FilesError> {
        let (upload, folder) = (self.folders.upload(id), self.folders.published(id));
        let is_published = folder.join(files::IMAGES).exists();
        if is_published
            && upload.join(files::IMAGES).exists()
            && read_list(&upload)?.1 != read_list(&folder)?.1
        {
            return Err(FilesError::ImagesPublished(id.version.clone()));
        }
        let source = if is_published { &folder } else { &upload };
        let (list, bytes) = read_list(source)?;
        list.ensure_of(release)?;
        let sha256 = Digest::of(&bytes).to_string();
        check_images(targets, &release.board, &id.version, &sha256)?;
        let mut images = Vec::new();
        for file in &list.files {
            let digests = match files_at {
                Some(_) => BTreeMap::new(),
                None => hash(source, file)?,
            };
            images.push(image(file, digests));
        }
        if !is_published {
            self.folders.publish(id)?;
        } else if upload.exists() {
            self.folders.remove_upload(id)?;
        }
        let list = rollout::File {
            name: files::IMAGES.to_owned(),
            size: to_u64(bytes.len()),
            sha256,
            sha1: String::new(),
        };
        Ok(rollout::Images { list, files: images, files_at })
    }

    /// Removes the images of a release.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self, id: &ReleaseId) -> Result<(), FilesError> {
        self.folders.remove(id)
    }
}

fn image(file: &ImageFile, digests: BTreeMap<String, String>) -> rollout::Image {
    rollout::Image {
        file: rollout::File {
            name: file.name.to_string(),
            size: file.size,
            sha256: file.sha256.to_string(),
            sha1: String::new(),
        },
        channel: file.channel.clone(),
        format: file.format.clone(),
        digests,
    }
}

/// The list in a folder, and its bytes.
fn read_list(folder: &Path) -> Result<(ImageList, Vec<u8>), FilesError> {
    match fs::read(folder.join(files::IMAGES)) {
        Ok(bytes) => Ok((ImageList::parse(&bytes).map_err(FilesError::ImageList)?, bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FilesError::Missing(files::IMAGES.to_owned()))
        }
        Err(error) => Err(FilesError::Io(folder.to_owned(), error)),
    }
}

fn check_identity(list: &ImageList, id: &ReleaseId) -> Result<(), FilesError> {
    let arch = omaha::architecture(&list.board, None);
    let why = match (list.version == id.version, arch == id.arch) {
        (true, true) => return Ok(()),
        (false, _) => format!("version {}, expected {}", list.version, id.version),
        (_, false) => format!("board {} ({arch}), expected {}", list.board, id.arch),
    };
    Err(FilesError::ImageList(MetadataError::Invalid { file: files::IMAGES, why }))
}

/// Verifies a file on disk. Returns [`DIGESTS`].
fn hash(folder: &Path, expected: &ImageFile) -> Result<BTreeMap<String, String>, FilesError> {
    let (mut md5, mut sha1, mut sha512) = (md5::Context::new(), Sha1::new(), Sha512::new());
    Listed::from(expected).verify_in(folder, |chunk| {
        md5.consume(chunk);
        sha1.update(chunk);
        sha512.update(chunk);
    })?;
    let found = [
        format!("{:x}", md5.finalize()),
        format!("{:x}", sha1.finalize()),
        format!("{:x}", sha512.finalize()),
    ];
    Ok(DIGESTS.iter().map(|name| (*name).to_owned()).zip(found).collect())
}
