//! Images from files: OCI layouts as directory or archive, archives of `docker save`, and archives of a root file system.

mod archive;
mod docker;
mod layout;
mod rootfs;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use oci_image::NameError;
use oci_image::config::ConfigError;
use oci_image::manifest::DocumentError;
use oci_image::selection::NoImageError;
use oci_image::signature::{Signatures, TrustError};
use oci_image::{Blob, Digest, Platform, Reference};

use crate::store::Store;
use crate::store_error::StoreError;
use crate::trust::TrustPolicy;

/// How images are imported.
#[derive(Clone)]
pub struct ImportOptions<'a> {
    /// Chosen from images for several platforms.
    pub platform: Platform,
    /// The name of the only image in the file, instead of the names in it.
    pub name: Option<Reference>,
    /// Which images are accepted.
    pub trust: TrustPolicy<'a>,
    /// Signatures from files next to the image.
    pub signatures: Signatures,
    /// Limit of the bytes that are stored.
    pub bytes: u64,
}

/// An image that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The manifest's digest: the image's id.
    pub manifest: Digest,
    /// Its names.
    pub names: Vec<String>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ImportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the archive cannot be read")]
    Archive(#[source] io::Error),
    #[error("{0}: no regular file")]
    NoFile(PathBuf),
    #[error("{path} has {size} bytes, at most {limit} are accepted")]
    Large { path: PathBuf, size: u64, limit: u64 },
    #[error("the images have more than {0} bytes")]
    Bytes(u64),
    #[error("the archive has more than {0} files")]
    Files(usize),
    #[error("{0:?} is no path within the archive")]
    Path(String),
    #[error("{path} has another content than its name: {found}")]
    Digest { path: PathBuf, found: Digest },
    #[error("{0} is neither an OCI layout (index.json) nor an archive of `docker save` (manifest.json)")]
    Format(String),
    #[error("{path} is invalid")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}")]
    Document { path: PathBuf, source: DocumentError },
    #[error("{path}")]
    Config { path: PathBuf, source: ConfigError },
    #[error("the archive lacks {0}, which its index lists")]
    Missing(String),
    #[error("the layout version is {0:?}; expected 1.0.0")]
    LayoutVersion(String),
    #[error("image name {name:?} in the file")]
    Name { name: String, source: NameError },
    #[error("the file has {0} images; a name or a signature is for one")]
    Several(usize),
    #[error("the file has no image")]
    Empty,
    #[error("the image cannot be used on this machine")]
    Platform(#[source] NoImageError),
    #[error("the image is for {found}, not for {wanted}")]
    OtherPlatform { found: String, wanted: String },
    #[error("the image is not trusted")]
    Trust(#[source] TrustError),
    #[error("a signed image needs a name, by which its keys are found")]
    NoName,
}

/// An image whose content is in the store.
struct Candidate {
    manifest: Digest,
    /// The index that it was chosen from.
    index: Option<Digest>,
    names: Vec<String>,
}

impl Store {
    /// Checks and records the images of one file.
    fn add_candidates(
        &self,
        mut candidates: Vec<Candidate>,
        options: &ImportOptions<'_>,
    ) -> Result<Vec<Imported>, ImportError> {
        if candidates.is_empty() {
            return Err(ImportError::Empty);
        }
        if let Some(name) = &options.name {
            let count = candidates.len();
            let [only] = candidates.as_mut_slice() else { return Err(ImportError::Several(count)) };
            only.names = vec![name.to_string()];
        }
        // All checks precede the first record: a file is imported as a whole.
        let mut verified = Vec::new();
        for candidate in &candidates {
            self.check(candidate, options)?;
            verified.push(verified_names(candidate, options)?);
        }
        let mut imported = Vec::new();
        for (candidate, names) in candidates.into_iter().zip(verified) {
            self.record(candidate.manifest, names)?;
            imported.push(Imported { manifest: candidate.manifest, names: candidate.names });
        }
        Ok(imported)
    }

    /// Whether everything that the image names is there, and fits.
    fn check(&self, candidate: &Candidate, options: &ImportOptions<'_>) -> Result<(), ImportError> {
        let manifest = self.manifest(candidate.manifest)?;
        for blob in manifest.layers.iter().map(|layer| &layer.blob).chain([&manifest.config]) {
            self.expect_blob(blob)?;
        }
        let found = self.config(candidate.manifest)?.platform;
        if options.platform.runs(&found) {
            return Ok(());
        }
        let (found, wanted) = (found.to_string(), options.platform.to_string());
        Err(ImportError::OtherPlatform { found, wanted })
    }

    fn expect_blob(&self, blob: &Blob) -> Result<(), ImportError> {
        if self.has_blob(blob) {
            return Ok(());
        }
        Err(ImportError::Missing(format!("{} with {} bytes", blob.digest, blob.size)))
    }
}

/// The key that verified each name: a signature for one name permits no other.
fn verified_names(
    candidate: &Candidate,
    options: &ImportOptions<'_>,
) -> Result<BTreeMap<String, Option<String>>, ImportError> {
    let trust = match options.trust {
        TrustPolicy::Insecure => {
            return Ok(candidate.names.iter().map(|name| (name.clone(), None)).collect());
        }
        TrustPolicy::Require(_) if candidate.names.is_empty() => return Err(ImportError::NoName),
        TrustPolicy::Require(trust) => trust,
    };
    let key = |name: &String| {
        let reference = parse_name(name)?;
        let verify = |digest: Digest| trust.verify(&reference, digest, &options.signatures);
        let verified = match candidate.index.map(verify) {
            Some(Ok(verified)) => Ok(verified),
            _ => verify(candidate.manifest),
        };
        Ok((name.clone(), Some(verified.map_err(ImportError::Trust)?.key)))
    };
    candidate.names.iter().map(key).collect()
}

fn parse_name(name: &str) -> Result<Reference, ImportError> {
    name.parse().map_err(|source| ImportError::Name { name: name.to_owned(), source })
}
