//! Why the store cannot be read or changed.

use std::io;
use std::path::{Path, PathBuf};

use oci_image::Digest;
use oci_image::config::ConfigError;
use oci_image::manifest::DocumentError;

/// Why the store cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum StoreError {
    #[error("cannot {what} {path}")]
    System { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the store has no image {0}")]
    NoImage(String),
    #[error("{path} is damaged: {reason}; remove the image and fetch it again")]
    Damaged { path: PathBuf, reason: String },
    #[error("manifest {digest}")]
    Manifest { digest: Digest, source: DocumentError },
    #[error("configuration of image {digest}")]
    Config { digest: Digest, source: ConfigError },
}

impl StoreError {
    pub(crate) fn new(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::System { what, path: path.to_owned(), source }
    }
}
