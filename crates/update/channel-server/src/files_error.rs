//! Why a file of a release was not received, published or removed.

use std::io;
use std::path::PathBuf;

use release::Digest;
use semver::Version;

use crate::repository::ListedError;

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot access {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is not uploaded yet")]
    Missing(String),
    #[error("{0} is not a file of this release")]
    UnknownFile(String),
    #[error("{name} has {found} bytes, expected {wanted}")]
    Size { name: String, found: u64, wanted: u64 },
    #[error("{name} has SHA-256 {found}, expected {wanted}")]
    Digest { name: String, found: Digest, wanted: Digest },
    #[error("invalid release.json")]
    Metadata(#[from] release::MetadataError),
    #[error("release.json is for another release: {0}")]
    Mismatch(String),
    #[error("invalid images.json")]
    ImageList(#[source] release::MetadataError),
    #[error("the images do not belong to the release")]
    ForeignImages(#[from] release::NotOfRelease),
    #[error("version {0} is already published with another images.json: published versions are immutable")]
    ImagesPublished(Version),
    #[error(transparent)]
    Listed(#[from] ListedError),
    #[error("version {0} is already published with another release.json: published versions are immutable")]
    AlreadyPublished(Version),
    #[error("the upload was interrupted")]
    Interrupted,
}
