//! Fetches an image: manifest, signature, configuration, layers, in this order.

use std::collections::{BTreeMap, BTreeSet};

use oci_image::limits::{MAX_DOCUMENT, MAX_PAYLOAD};
use oci_image::manifest::{self, DocumentError};
use oci_image::media_type::ACCEPTED;
use oci_image::selection::{self, NoImageError};
use oci_image::signature::{CosignSignature, Signatures, TrustError};
use oci_image::{Blob, Digest, Document, Manifest, Platform, Reference};
use ureq::http::header::CONTENT_TYPE;

use super::client::Client;
use super::{RegistryError, RegistryOptions, Transfer};
use crate::confined;
use crate::store::Store;
use crate::store_error::StoreError;
use crate::trust::TrustPolicy;

/// The registry's own digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What is pulled, and how.
#[derive(Clone)]
pub struct PullOptions<'a> {
    /// Chosen from images for several platforms.
    pub platform: Platform,
    /// Which images are accepted.
    pub trust: TrustPolicy<'a>,
    /// Signatures of minisign, from files; those of cosign are fetched.
    pub minisign: Vec<String>,
    /// The registry.
    pub registry: RegistryOptions,
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The manifest's digest: the image's id.
    pub manifest: Digest,
    /// What the name's tag selects in the registry: the manifest, or an index.
    pub selected: Digest,
    /// Bytes that were transferred.
    pub transferred: u64,
    /// The key that verified the image.
    pub verified_by: Option<String>,
}

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PullError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot pull {name}")]
    Registry { name: String, source: RegistryError },
    #[error("manifest of {name}")]
    Document { name: String, source: DocumentError },
    #[error("an index of {name} lists another index")]
    Nested { name: String },
    #[error("cannot pull {name}")]
    Platform { name: String, source: NoImageError },
    #[error("{name} is for {found}, not for {wanted}")]
    OtherPlatform { name: String, found: String, wanted: String },
    #[error("{name} has layers of {bytes} bytes, at most {limit} are accepted")]
    Bytes { name: String, bytes: u64, limit: u64 },
    #[error("{name} is not trusted")]
    Trust { name: String, source: TrustError },
}

/// A document of the registry.
struct Fetched {
    bytes: Vec<u8>,
    digest: Digest,
    document: Document,
}

impl Store {
    /// Pulls an image, in a thread that writes in the store only. What is present is not transferred again; `progress`
    /// gets the bytes of each blob.
    ///
    /// # Errors
    /// The registry, its content, the platform or the signature is not as expected. Nothing is recorded then; complete
    /// blobs, and parts of the last one, are used by the next attempt.
    pub fn pull(
        &self,
        name: &Reference,
        options: &PullOptions<'_>,
        progress: &mut (dyn FnMut(Transfer) + Send),
    ) -> Result<Pulled, PullError> {
        confined::run(self.folder(), confined::TRANSFER, || self.transfer(name, options, progress))?
    }

    fn transfer(
        &self,
        name: &Reference,
        options: &PullOptions<'_>,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<Pulled, PullError> {
        let _lock = self.shared_lock()?;
        let failed = |source| PullError::Registry { name: name.to_string(), source };
        let client = Client::connect(name, &options.registry).map_err(failed)?;
        let top = fetch_document(&client, name, &name.selector(), name.digest())?;
        let selected = top.digest;
        let (image, manifest) = choose(&client, name, top, &options.platform)?;
        let verified_by = verify(&client, name, &[selected, image.digest], options)?;
        let mut blobs: Vec<Blob> = vec![manifest.config];
        blobs.extend(manifest.layers.iter().map(|layer| layer.blob));
        let mut seen = BTreeSet::new();
        blobs.retain(|blob| seen.insert(blob.digest));
        let (bytes, limit) = (blobs.iter().map(|blob| blob.size).sum(), options.registry.bytes);
        if bytes > limit {
            return Err(PullError::Bytes { name: name.to_string(), bytes, limit });
        }
        let mut transferred = 0;
        self.add_bytes(&image.bytes)?;
        for (index, blob) in blobs.iter().enumerate() {
            if !self.has_blob(blob) {
                client.fetch(self, blob, progress).map_err(failed)?;
                transferred += blob.size;
            }
            // The configuration comes first: layers of an image that does not run here are not transferred.
            if index == 0 {
                let found = self.config(image.digest)?.platform;
                if !options.platform.runs(&found) {
                    let (found, wanted) = (found.to_string(), options.platform.to_string());
                    return Err(PullError::OtherPlatform { name: name.to_string(), found, wanted });
                }
            }
        }
        self.record(image.digest, BTreeMap::from([(name.to_string(), verified_by.clone())]))?;
        Ok(Pulled { manifest: image.digest, selected, transferred, verified_by })
    }
}

fn fetch_document(
    client: &Client,
    name: &Reference,
    selector: &str,
    expected: Option<Digest>,
) -> Result<Fetched, PullError> {
    let failed = |source| PullError::Registry { name: name.to_string(), source };
    let accept = ACCEPTED.join(", ");
    let path = format!("manifests/{selector}");
    let (url, response) = client.get(&path, &[("accept", &accept)]).map_err(failed)?;
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let (announced, content_digest) = (header(CONTENT_TYPE.as_str()), header(CONTENT_DIGEST));
    let bytes = client.read_body(&url, response, MAX_DOCUMENT).map_err(failed)?;
    let digest = Digest::of(&bytes);
    // Another algorithm's digest proves nothing here.
    let announced_digest = content_digest.and_then(|text| text.parse().ok());
    for expected in expected.into_iter().chain(announced_digest) {
        if digest != expected {
            return Err(failed(RegistryError::Digest { url: url.redacted(), found: digest, expected }));
        }
    }
    let document = manifest::parse(&bytes, announced.as_deref())
        .map_err(|source| PullError::Document { name: name.to_string(), source })?;
    Ok(Fetched { bytes, digest, document })
}

/// The image for a platform.
fn choose(
    client: &Client,
    name: &Reference,
    top: Fetched,
    platform: &Platform,
) -> Result<(Fetched, Manifest), PullError> {
    let index = match &top.document {
        Document::Manifest(manifest) => {
            let manifest = manifest.clone();
            return Ok((top, manifest));
        }
        Document::Index(index) => index,
    };
    let entry = selection::choose(index, platform)
        .map_err(|source| PullError::Platform { name: name.to_string(), source })?;
    let digest = entry.blob.digest;
    let image = fetch_document(client, name, &digest.to_string(), Some(digest))?;
    match &image.document {
        Document::Manifest(manifest) => {
            let manifest = manifest.clone();
            Ok((image, manifest))
        }
        Document::Index(_) => Err(PullError::Nested { name: name.to_string() }),
    }
}

/// The key that signed one of the digests: the index, or the manifest that it lists.
fn verify(
    client: &Client,
    name: &Reference,
    digests: &[Digest],
    options: &PullOptions<'_>,
) -> Result<Option<String>, PullError> {
    let TrustPolicy::Require(trust) = options.trust else { return Ok(None) };
    let mut last = None;
    for digest in digests {
        let cosign = cosign_signatures(client, *digest)
            .map_err(|source| PullError::Registry { name: name.to_string(), source })?;
        let signatures = Signatures { minisign: options.minisign.clone(), cosign };
        match trust.verify(name, *digest, &signatures) {
            Ok(verified) => return Ok(Some(verified.key)),
            // The reason of the tag's own digest is the one to show, unless it has no signature at all.
            Err(error @ TrustError::Invalid { .. }) => last = Some(error),
            Err(error) => last = last.or(Some(error)),
        }
    }
    let source = last.unwrap_or_else(|| TrustError::NoKey(name.to_string()));
    Err(PullError::Trust { name: name.to_string(), source })
}

/// cosign stores signatures as an image in the same repository, whose tag is the signed digest.
fn cosign_signatures(client: &Client, digest: Digest) -> Result<Vec<CosignSignature>, RegistryError> {
    let path = format!("manifests/sha256-{}.sig", digest.hex());
    let (url, response) = client.get(&path, &[("accept", &ACCEPTED.join(", "))])?;
    if response.status().as_u16() == 404 {
        return Ok(Vec::new());
    }
    let bytes = client.read_body(&url, response, MAX_DOCUMENT)?;
    // One that cannot be parsed is no signature.
    let Ok(payloads) = manifest::signed_payloads(&bytes) else { return Ok(Vec::new()) };
    let mut signatures = Vec::new();
    for signed in payloads {
        let (url, response) = client.get(&format!("blobs/{}", signed.blob.digest), &[])?;
        let payload = client.read_body(&url, response, MAX_PAYLOAD)?;
        let found = Digest::of(&payload);
        if found != signed.blob.digest {
            let expected = signed.blob.digest;
            return Err(RegistryError::Digest { url: url.redacted(), found, expected });
        }
        signatures.push(CosignSignature { payload, signature: signed.signature });
    }
    Ok(signatures)
}
