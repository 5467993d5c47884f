//! Signatures of images, and the keys that are trusted for a name.
//!
//! Two kinds are known: minisign's of the manifest digest's text, and cosign's of a payload ("simple signing") that
//! contains the digest. A key that cannot be parsed is an error: a trust store must not be smaller than it looks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use webpki::RawPublicKeyEntity;
use webpki::ring::ECDSA_P256_SHA256;

use crate::digest::Digest;
use crate::limits::{MAX_PAYLOAD, MAX_SIGNATURES};
use crate::reference::Reference;

const PEM_START: &str = "-----BEGIN ";

/// A payload, and cosign's signature of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignSignature {
    /// JSON.
    pub payload: Vec<u8>,
    /// ECDSA on P-256 with SHA-256: base64 of DER.
    pub signature: String,
}

/// All signatures that exist for an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Contents of `.minisig` files.
    pub minisign: Vec<String>,
    /// cosign's.
    pub cosign: Vec<CosignSignature>,
}

impl Signatures {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.minisign.is_empty() && self.cosign.is_empty()
    }
}

enum Key {
    Minisign(minisign_verify::PublicKey),
    EcdsaP256(SubjectPublicKeyInfoDer<'static>),
}

/// Keys by prefix of image names: `quay.io/coreos` is a prefix of `quay.io/coreos/etcd`, not of `quay.io/coreos2/a`.
#[derive(Default)]
pub struct Trust {
    keys: Vec<(String, String, Key)>,
}

/// What verified an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Where the key came from.
    pub key: String,
}

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {reason}; expected a public key of minisign, or an ECDSA P-256 key in PEM (cosign.pub)")]
pub struct KeyError {
    origin: String,
    reason: String,
}

/// Why an image is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TrustError {
    #[error("no key is trusted for {0}")]
    NoKey(String),
    #[error("{name} ({digest}) has no signature")]
    NoSignature { name: String, digest: Digest },
    #[error("no signature of {name} ({digest}) is valid: {reasons}")]
    Invalid { name: String, digest: Digest, reasons: String },
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: Digest,
}

/// The prefixes of a name, from the registry to the whole: `quay.io`, `quay.io/coreos`, `quay.io/coreos/etcd`.
#[must_use]
pub fn prefixes(name: &Reference) -> Vec<String> {
    let mut prefixes = vec![name.registry().to_owned()];
    for part in name.repository().split('/') {
        let parent = prefixes.last().map_or("", String::as_str);
        prefixes.push(format!("{parent}/{part}"));
    }
    prefixes
}

impl Trust {
    /// Adds a key for all names with `prefix`. `origin` is for messages.
    ///
    /// # Errors
    /// It is no supported key.
    pub fn add(&mut self, prefix: &str, origin: &str, text: &str) -> Result<(), KeyError> {
        let refused = |reason: String| KeyError { origin: origin.to_owned(), reason };
        let key = if text.contains(PEM_START) {
            let key = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
                .map_err(|error| refused(error.to_string()))?;
            if !is_p256(&key) {
                return Err(refused("another algorithm".to_owned()));
            }
            Key::EcdsaP256(key)
        } else {
            let decoded = match text.trim().contains('\n') {
                true => minisign_verify::PublicKey::decode(text),
                false => minisign_verify::PublicKey::from_base64(text.trim()),
            };
            Key::Minisign(decoded.map_err(|error| refused(error.to_string()))?)
        };
        self.keys.push((prefix.to_owned(), origin.to_owned(), key));
        Ok(())
    }

    /// Verifies that a key which is trusted for `name` signed the manifest or index with `digest`.
    ///
    /// # Errors
    /// There is no such key or signature.
    pub fn verify(
        &self,
        name: &Reference,
        digest: Digest,
        signatures: &Signatures,
    ) -> Result<Verified, TrustError> {
        let prefixes = prefixes(name);
        let keys: Vec<_> = self.keys.iter().filter(|(prefix, ..)| prefixes.contains(prefix)).collect();
        let full_name = name.to_string();
        if keys.is_empty() {
            return Err(TrustError::NoKey(full_name));
        }
        if signatures.is_empty() {
            return Err(TrustError::NoSignature { name: full_name, digest });
        }
        let mut reasons = Vec::new();
        for (_, origin, key) in keys {
            let valid = match key {
                Key::Minisign(key) => minisign(key, digest, &signatures.minisign),
                Key::EcdsaP256(key) => cosign(key, name, digest, &signatures.cosign),
            };
            match valid {
                Ok(()) => return Ok(Verified { key: origin.clone() }),
                Err(reason) => reasons.push(format!("{origin}: {reason}")),
            }
        }
        Err(TrustError::Invalid { name: full_name, digest, reasons: reasons.join("; ") })
    }
}

fn minisign(key: &minisign_verify::PublicKey, digest: Digest, signatures: &[String]) -> Result<(), String> {
    let mut last = "no signature of minisign".to_owned();
    for text in signatures.iter().take(MAX_SIGNATURES).filter(|text| text.len() as u64 <= MAX_PAYLOAD) {
        let signature = match minisign_verify::Signature::decode(text) {
            Ok(signature) => signature,
            Err(error) => {
                last = error.to_string();
                continue;
            }
        };
        // With the newline that a file with one line has.
        for message in [digest.to_string(), format!("{digest}\n")] {
            match key.verify(message.as_bytes(), &signature, false) {
                Ok(()) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
        }
    }
    Err(last)
}

fn cosign(
    key: &SubjectPublicKeyInfoDer<'_>,
    name: &Reference,
    digest: Digest,
    signatures: &[CosignSignature],
) -> Result<(), String> {
    let mut last = "no signature of cosign".to_owned();
    for one in signatures.iter().take(MAX_SIGNATURES) {
        match verify_payload(key, name, digest, one) {
            Ok(()) => return Ok(()),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

fn verify_payload(
    key: &SubjectPublicKeyInfoDer<'_>,
    name: &Reference,
    digest: Digest,
    signed: &CosignSignature,
) -> Result<(), String> {
    let signature = STANDARD.decode(signed.signature.trim()).map_err(|_| "the signature is no base64")?;
    let entity = RawPublicKeyEntity::try_from(key).map_err(|error| error.to_string())?;
    entity
        .verify_signature(ECDSA_P256_SHA256, &signed.payload, &signature)
        .map_err(|_| "the key did not sign the payload")?;
    // Parsed only now: nothing unverified is interpreted.
    let payload: Payload =
        serde_json::from_slice(&signed.payload).map_err(|_| "the payload is no simple signing document")?;
    let signed_digest = payload.critical.image.docker_manifest_digest;
    if signed_digest != digest {
        return Err(format!("it is for {signed_digest}"));
    }
    let identity = payload.critical.identity.docker_reference;
    match identity.parse::<Reference>() {
        Ok(found) if found.registry() == name.registry() && found.repository() == name.repository() => Ok(()),
        _ => Err(format!("it is for the image {identity:?}")),
    }
}

/// webpki returns another error for an unsupported key than for a wrong signature.
fn is_p256(key: &SubjectPublicKeyInfoDer<'_>) -> bool {
    let verified =
        RawPublicKeyEntity::try_from(key).map(|key| key.verify_signature(ECDSA_P256_SHA256, b"", b""));
    matches!(verified, Ok(Err(webpki::Error::InvalidSignatureForPublicKey)))
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
