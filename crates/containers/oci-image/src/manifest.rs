//! Manifests and indexes: what a registry or an archive lists, checked.

use serde::Deserialize;
use serde_json::json;

use crate::digest::{Digest, DigestError};
use crate::document::{Descriptor, ImageIndex, ImageManifest};
use crate::limits::{MAX_CONFIG, MAX_DOCUMENT, MAX_LAYER, MAX_LAYERS, MAX_MANIFESTS, MAX_PAYLOAD};
use crate::media_type::{
    Compression, DOCKER_CONFIG, DOCKER_INDEX, DOCKER_MANIFEST, LayerType, OCI_CONFIG, OCI_INDEX,
    OCI_MANIFEST, layer_type,
};
use crate::platform::Platform;

const SCHEMA_VERSION: u32 = 2;
/// Annotation of a manifest in the index of a layout: its tag, or full name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's annotation with the full name.
const FULL_NAME: &str = "io.containerd.image.name";
/// cosign's annotation of a layer with a signed payload.
const COSIGN_SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Content by digest and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A layer as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The archive, compressed.
    pub blob: Blob,
    /// Its compression.
    pub compression: Compression,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image configuration.
    pub config: Blob,
    /// From the lowest to the highest.
    pub layers: Vec<Layer>,
}

/// A manifest in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest, or another index.
    pub blob: Blob,
    /// What it is for, if the index has it.
    pub platform: Option<Platform>,
    /// A tag or full name, from its annotations.
    pub name: Option<String>,
}

/// An image for several platforms, or the list of images in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Those of images; other artifacts are left out.
    pub manifests: Vec<IndexEntry>,
}

/// What a manifest request returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Index),
}

/// A payload that cosign signed, and its signature in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPayload {
    /// The payload.
    pub blob: Blob,
    /// The signature's base64.
    pub signature: String,
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum DocumentError {
    #[error("the document has {0} bytes, at most {MAX_DOCUMENT} are accepted")]
    Large(u64),
    #[error("the document is no manifest")]
    Json(#[source] serde_json::Error),
    #[error(
        "schema version {0} is not supported; expected 2 (an image of Docker before 1.10 must be pushed again)"
    )]
    Schema(u32),
    #[error("media type {0:?} is not supported")]
    MediaType(String),
    #[error("the document's media type is {document:?}, but it was announced as {announced:?}")]
    Announced { document: String, announced: String },
    #[error("the document has both `manifests` and `{0}`: it can be read as image and as index")]
    Ambiguous(&'static str),
    #[error("the document has neither `manifests` nor `config` and `layers`")]
    Unknown,
    #[error("{0} layers, at most {MAX_LAYERS} are accepted")]
    Layers(usize),
    #[error("{0} manifests, at most {MAX_MANIFESTS} are accepted")]
    Manifests(usize),
    #[error("the configuration has media type {0:?}: this is no container image")]
    Config(String),
    #[error(
        "layer {number} has media type {media_type:?}; expected a tar archive, plain or with gzip or zstd"
    )]
    Layer { number: usize, media_type: String },
    #[error("layer {0} may not be distributed by registries (Windows base images)")]
    NotDistributed(usize),
    #[error("{what} has {size} bytes, at most {limit} are accepted")]
    Size { what: String, size: u64, limit: u64 },
    #[error("the digest of {what}")]
    Digest { what: String, source: DigestError },
}

/// The fields that distinguish kinds of documents.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Parses a manifest or an index. `announced`: the media type of a response's header or a descriptor.
///
/// A document that could be read as either is refused (CVE-2021-41190).
///
/// # Errors
/// It is too large, no image, or not supported.
pub fn parse(bytes: &[u8], announced: Option<&str>) -> Result<Document, DocumentError> {
    let kind = kind(bytes)?;
    if let (Some(document), Some(announced)) = (&kind.media_type, announced)
        && announced.split(';').next().map(str::trim) != Some(document.as_str())
        && is_document(announced)
    {
        let (document, announced) = (document.clone(), announced.to_owned());
        return Err(DocumentError::Announced { document, announced });
    }
    match (&kind.manifests, &kind.layers, &kind.config, &kind.fs_layers) {
        (Some(_), None, None, None) => Ok(Document::Index(index(bytes, &kind)?)),
        (None, Some(_), Some(_), None) => Ok(Document::Manifest(manifest(bytes, &kind)?)),
        (Some(_), Some(_), ..) => Err(DocumentError::Ambiguous("layers")),
        (Some(_), _, Some(_), _) => Err(DocumentError::Ambiguous("config")),
        (Some(_), .., Some(_)) => Err(DocumentError::Ambiguous("fsLayers")),
        _ => Err(DocumentError::Unknown),
    }
}

/// The payloads in a manifest that cosign wrote. Layers without a signature are left out.
///
/// # Errors
/// It is no manifest.
pub fn signed_payloads(bytes: &[u8]) -> Result<Vec<SignedPayload>, DocumentError> {
    kind(bytes)?;
    let parsed: ImageManifest = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    let mut payloads = Vec::new();
    for layer in parsed.layers.iter().take(crate::limits::MAX_SIGNATURES) {
        if let Some(signature) = layer.annotation(COSIGN_SIGNATURE) {
            let blob = blob(layer, "a signed payload", MAX_PAYLOAD)?;
            payloads.push(SignedPayload { blob, signature: signature.clone() });
        }
    }
    Ok(payloads)
}

impl Manifest {
    /// The bytes of an OCI manifest with these contents: the same contents give the same bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let descriptor = |blob: &Blob, media_type: &str| json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size });
        let layers = self.layers.iter().map(|layer| descriptor(&layer.blob, &layer.compression.layer_type()));
        json!({
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(&self.config, OCI_CONFIG),
            "layers": layers.collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes()
    }
}

fn kind(bytes: &[u8]) -> Result<Kind, DocumentError> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(DocumentError::Large(bytes.len() as u64));
    }
    let kind: Kind = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if kind.schema_version != SCHEMA_VERSION {
        return Err(DocumentError::Schema(kind.schema_version));
    }
    Ok(kind)
}

/// Servers that know no media types of images announce another one.
fn is_document(media_type: &str) -> bool {
    crate::media_type::ACCEPTED.iter().any(|known| media_type.starts_with(known))
}

fn expect_type(kind: &Kind, expected: [&str; 2]) -> Result<(), DocumentError> {
    match &kind.media_type {
        Some(media_type) if !expected.contains(&media_type.as_str()) => {
            Err(DocumentError::MediaType(media_type.clone()))
        }
        _ => Ok(()),
    }
}

fn manifest(bytes: &[u8], kind: &Kind) -> Result<Manifest, DocumentError> {
    expect_type(kind, [OCI_MANIFEST, DOCKER_MANIFEST])?;
    let ImageManifest { config, layers } = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if ![OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str()) {
        return Err(DocumentError::Config(config.media_type));
    }
    if layers.len() > MAX_LAYERS {
        return Err(DocumentError::Layers(layers.len()));
    }
    let layers = (1..).zip(&layers).map(|(number, layer)| match layer_type(&layer.media_type) {
        LayerType::Tar(compression) => {
            Ok(Layer { blob: blob(layer, &format!("layer {number}"), MAX_LAYER)?, compression })
        }
        LayerType::NotDistributed => Err(DocumentError::NotDistributed(number)),
        LayerType::Unknown => Err(DocumentError::Layer { number, media_type: layer.media_type.clone() }),
    });
    Ok(Manifest {
        config: blob(&config, "the configuration", MAX_CONFIG)?,
        layers: layers.collect::<Result<_, _>>()?,
    })
}

fn index(bytes: &[u8], kind: &Kind) -> Result<Index, DocumentError> {
    expect_type(kind, [OCI_INDEX, DOCKER_INDEX])?;
    let ImageIndex { manifests } = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if manifests.len() > MAX_MANIFESTS {
        return Err(DocumentError::Manifests(manifests.len()));
    }
    let known = |entry: &&Descriptor| is_document(&entry.media_type);
    let entries = manifests.iter().filter(known).map(|entry| {
        Ok(IndexEntry {
            blob: blob(entry, "a manifest", MAX_DOCUMENT)?,
            platform: entry.platform.as_ref().map(Platform::from),
            name: entry.annotation(FULL_NAME).or(entry.annotation(REF_NAME)).cloned(),
        })
    });
    Ok(Index { manifests: entries.collect::<Result<_, _>>()? })
}

fn blob(descriptor: &Descriptor, what: &str, limit: u64) -> Result<Blob, DocumentError> {
    let size = descriptor.size;
    if size > limit {
        return Err(DocumentError::Size { what: what.to_owned(), size, limit });
    }
    let digest = descriptor.digest.parse();
    let digest = digest.map_err(|source| DocumentError::Digest { what: what.to_owned(), source })?;
    Ok(Blob { digest, size })
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
