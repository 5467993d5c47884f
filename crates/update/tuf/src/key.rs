//! Public keys (specification, section 4.2.2) and the signatures that they verify.

use ring::signature::{ED25519, UnparsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use webpki::RawPublicKeyEntity;
use webpki::ring::{ECDSA_P256_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

use crate::canonical::canonical;
use crate::digests::{hex, unhex};
use crate::json::Extra;

/// The SHA-256 digest of a key's canonical form: 64 lower-case hexadecimal digits.
pub type KeyId = String;

/// A public key. One of an unknown type or scheme verifies nothing, and is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `ed25519`, `ecdsa` or `rsa`.
    pub keytype: String,
    /// `ed25519`, `ecdsa-sha2-nistp256` or `rsassa-pss-sha256`.
    pub scheme: String,
    /// The key itself.
    pub keyval: KeyValue,
    /// Other fields, which are part of the canonical form.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The public part of a key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// 64 hexadecimal digits (ed25519), or PEM (`PUBLIC KEY`).
    pub public: String,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A key that can verify.
enum Parsed {
    Ed25519(Vec<u8>),
    EcdsaP256(SubjectPublicKeyInfoDer<'static>),
    RsaPss(SubjectPublicKeyInfoDer<'static>),
}

const ED25519_LENGTH: usize = 32;

impl Key {
    /// An ed25519 key of 32 bytes.
    #[must_use]
    pub fn ed25519(public: &[u8; ED25519_LENGTH]) -> Self {
        Self::new("ed25519", "ed25519", hex(public))
    }

    /// An ECDSA key on P-256: PEM of a `SubjectPublicKeyInfo`. `None` if it is not PEM.
    #[must_use]
    pub fn ecdsa_p256(pem: &str) -> Option<Self> {
        Self::new("ecdsa", "ecdsa-sha2-nistp256", pem.to_owned()).parsed()
    }

    /// An RSA key for RSASSA-PSS with SHA-256: PEM of a `SubjectPublicKeyInfo`. `None` if it is not PEM.
    #[must_use]
    pub fn rsa_pss(pem: &str) -> Option<Self> {
        Self::new("rsa", "rsassa-pss-sha256", pem.to_owned()).parsed()
    }

    fn parsed(self) -> Option<Self> {
        self.parse().is_some().then_some(self)
    }

    fn new(keytype: &str, scheme: &str, public: String) -> Self {
        let keyval = KeyValue { public, extra: Extra::new() };
        Self { keytype: keytype.to_owned(), scheme: scheme.to_owned(), keyval, extra: Extra::new() }
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        digest(self)
    }

    /// Whether `id` is the digest of the key, with its other fields or without.
    ///
    /// Repositories of tuf-on-ci add fields to a key that its id does not cover. Both are digests of the one key, so
    /// an id still has one key only.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        let defined = Self::new(&self.keytype, &self.scheme, self.keyval.public.clone());
        digest(self) == id || digest(&defined) == id
    }

    /// Whether this key made `signature` (as hexadecimal digits) of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        unhex(signature).is_some_and(|signature| self.made(message, &signature))
    }

    /// Whether this key made `signature` of `message`: 64 bytes (ed25519), DER (ecdsa) or as long as the modulus (rsa).
    #[must_use]
    pub fn made(&self, message: &[u8], signature: &[u8]) -> bool {
        let with = |key: &SubjectPublicKeyInfoDer<'_>, algorithm| {
            RawPublicKeyEntity::try_from(key)
                .is_ok_and(|key| key.verify_signature(algorithm, message, signature).is_ok())
        };
        match self.parse() {
            Some(Parsed::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            Some(Parsed::EcdsaP256(key)) => with(&key, ECDSA_P256_SHA256),
            Some(Parsed::RsaPss(key)) => with(&key, RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
            None => false,
        }
    }

    /// The same for the same key, whatever its id, fields or line breaks. `None` if it verifies nothing.
    #[must_use]
    pub fn identity(&self) -> Option<Vec<u8>> {
        Some(match self.parse()? {
            Parsed::Ed25519(key) => key,
            Parsed::EcdsaP256(key) | Parsed::RsaPss(key) => key.as_ref().to_vec(),
        })
    }

    fn parse(&self) -> Option<Parsed> {
        let public = &self.keyval.public;
        let pem = || SubjectPublicKeyInfoDer::from_pem_slice(public.as_bytes()).ok();
        match (&*self.keytype, &*self.scheme) {
            ("ed25519", "ed25519") => {
                unhex(public).filter(|key| key.len() == ED25519_LENGTH).map(Parsed::Ed25519)
            }
            // The second type is the name that python-tuf once gave it, and still accepts.
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => pem().map(Parsed::EcdsaP256),
            ("rsa", "rsassa-pss-sha256") => pem().map(Parsed::RsaPss),
            _ => None,
        }
    }
}

fn digest(key: &Key) -> KeyId {
    // A key with a number that has no canonical form cannot come from a parsed file; its id matches nothing.
    let value = serde_json::to_value(key).unwrap_or(Value::Null);
    canonical(&value).map(|bytes| hex(&Sha256::digest(bytes))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, section 4.3.
    #[test]
    fn an_id_is_the_digest_of_the_canonical_key() {
        let public = "72378e5bc588793e58f81c8533da64a2e8f1565c1fcc7f253496394ffc52542c";
        let mut key = Key::ed25519(&unhex(public).unwrap().try_into().unwrap());
        let id = "1bf1c6e3cdd3d3a8420b19199e27511999850f4b376c4547b2f32fba7e80fca3";
        assert_eq!(key.id(), id);
        assert!(key.has_id(id) && !key.has_id(&id.replace('1', "2")));
        key.extra.insert("owner".to_owned(), "x".into());
        assert!(key.has_id(id) && key.has_id(&key.id()) && key.id() != id);
    }

    #[test]
    fn unknown_and_damaged_keys_verify_nothing() {
        let mut key = Key::ed25519(&[1; 32]);
        assert!(key.identity().is_some() && !key.verifies(b"", &"00".repeat(64)) && !key.verifies(b"", "x"));
        key.scheme = "md5".to_owned();
        assert!(key.identity().is_none() && !key.verifies(b"", &"00".repeat(64)));
        let damaged = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned();
        let key = Key::ecdsa_p256(&damaged).unwrap();
        assert!(!key.verifies(b"", "00"));
        assert!(Key::ecdsa_p256("AAAA").is_none() && Key::rsa_pss("").is_none());
    }
}
