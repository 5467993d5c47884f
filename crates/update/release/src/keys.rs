//! Public keys and signatures in minisign's format.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{PublicKey, Signature};

/// An ed25519 public key.
pub type PublicKeyBytes = [u8; 32];

/// The algorithm, which precedes the key id in keys and signatures.
const ALGORITHM: &[u8; 2] = b"Ed";
/// Of the key id in a decoded key or signature. The id is arbitrary: a key under two ids is one key.
const ID: std::ops::Range<usize> = 2..10;

/// A public key and its origin.
pub struct Key {
    /// For messages, usually the file name.
    pub name: String,
    key: PublicKeyBytes,
}

/// Keys of which any one may sign.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

/// A key file that is not in minisign's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid minisign public key {name}: {why}")]
pub struct KeyError {
    name: String,
    why: String,
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum SignatureError {
    #[error("there is no trusted key for this signature: a machine without trusted keys accepts no updates")]
    NoKeys,
    #[error("the signature is not in minisign's format: {0}")]
    Malformed(String),
    #[error("no trusted key made this signature")]
    NotTrusted,
}

impl fmt::Debug for Key {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The key in the text of a `.pub` file. `name` is for messages.
///
/// # Errors
/// It is no minisign public key.
pub fn public_key(name: &str, text: &str) -> Result<PublicKeyBytes, KeyError> {
    let failed = |why: String| KeyError { name: name.to_owned(), why };
    PublicKey::decode(text.trim_end()).map_err(|error| failed(error.to_string()))?;
    let line = text.lines().nth(1).unwrap_or_default();
    let bytes = STANDARD.decode(line.trim_end()).map_err(|error| failed(error.to_string()))?;
    let key = bytes.get(ID.end..).and_then(|key| key.try_into().ok());
    key.ok_or_else(|| failed("unexpected length".to_owned()))
}

impl Keys {
    /// Adds the key in the text of a `.pub` file.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), KeyError> {
        self.push(name, public_key(name, text)?);
        Ok(())
    }

    /// Adds a key.
    pub fn push(&mut self, name: &str, key: PublicKeyBytes) {
        self.0.push(Key { name: name.to_owned(), key });
    }

    /// Whether nothing is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies that one of the keys signed `bytes`, and returns that key. `signature` is the text of a `.sig` file.
    /// Legacy signatures, over the data instead of its hash, are rejected.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> Result<&Key, SignatureError> {
        if self.0.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        let decoded =
            Signature::decode(signature).map_err(|error| SignatureError::Malformed(error.to_string()))?;
        let id = key_id(signature).ok_or_else(|| SignatureError::Malformed("no key id".to_owned()))?;
        let verifies = |key: &&Key| {
            let key = STANDARD.encode([&ALGORITHM[..], &id, &key.key].concat());
            PublicKey::from_base64(&key).is_ok_and(|key| key.verify(bytes, &decoded, false).is_ok())
        };
        self.0.iter().find(verifies).ok_or(SignatureError::NotTrusted)
    }
}

/// The key id in the text of a `.sig` file.
fn key_id(signature: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(signature.lines().nth(1)?).ok()?;
    Some(bytes.get(ID)?.to_vec())
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &pair.sk, bytes, Some("t"), Some("u")).unwrap().to_string()
    }

    fn keys(pairs: &[&KeyPair]) -> Keys {
        let mut keys = Keys::default();
        for (at, pair) in pairs.iter().enumerate() {
            keys.add(&format!("{at}.pub"), &pair.pk.to_box().unwrap().to_string()).unwrap();
        }
        keys
    }

    #[test]
    fn any_trusted_key_suffices_for_the_exact_bytes() {
        let [one, two, foreign] = std::array::from_fn(|_| KeyPair::generate_unencrypted_keypair().unwrap());
        let known = keys(&[&one, &two]);
        assert_eq!(known.verify(b"text", &sign(&two, b"text")).unwrap().name, "1.pub");
        assert_eq!(known.verify(b"text", &sign(&foreign, b"text")).unwrap_err(), SignatureError::NotTrusted);
        assert_eq!(known.verify(b"texT", &sign(&one, b"text")).unwrap_err(), SignatureError::NotTrusted);
        assert_eq!(
            Keys::default().verify(b"text", &sign(&one, b"text")).unwrap_err(),
            SignatureError::NoKeys
        );
    }

    #[test]
    fn truncated_or_modified_signatures_are_rejected() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let known = keys(&[&pair]);
        let good = sign(&pair, b"text");
        known.verify(b"text", &good).unwrap();
        // Only the final newline is optional.
        for length in 0..good.trim_end().len() {
            known.verify(b"text", &good[..length]).unwrap_err();
        }
        known.verify(b"text", &good.replacen("trusted comment: t", "trusted comment: T", 2)).unwrap_err();
    }

    /// As in root metadata, which has keys without ids.
    #[test]
    fn the_id_of_a_key_does_not_matter() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let text = pair.pk.to_box().unwrap().to_string();
        let mut keys = Keys::default();
        keys.push("a", public_key("a.pub", &text).unwrap());
        assert_eq!(keys.verify(b"text", &sign(&pair, b"text")).unwrap().name, "a");
        keys.verify(b"text", &sign(&KeyPair::generate_unencrypted_keypair().unwrap(), b"text")).unwrap_err();
    }

    #[test]
    fn an_invalid_key_is_reported_with_its_name() {
        let mut keys = Keys::default();
        let error = keys.add("a.pub", "untrusted comment: x\nAAAA\n").unwrap_err();
        assert!(error.to_string().starts_with("invalid minisign public key a.pub"), "{error}");
        assert!(keys.is_empty());
    }
}
