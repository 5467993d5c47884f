//! Signatures over metadata.

use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;

use crate::canonical::{CanonicalError, canonical};
use crate::digests::hex;
use crate::json::Extra;
use crate::key::Key;
use crate::metadata::{Signature, Signed};

/// A key pair, here or in hardware.
pub trait Signer {
    /// The public key.
    fn key(&self) -> &Key;

    /// Signs `message` with the scheme of the key.
    ///
    /// # Errors
    /// Whatever keeps the key from signing, as a sentence.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// Why metadata was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum SignError {
    #[error("the metadata has no canonical form")]
    Canonical(#[from] CanonicalError),
    #[error("the metadata cannot be encoded: {0}")]
    Encode(String),
    #[error("key {id} cannot sign: {why}")]
    Key { id: String, why: String },
}

/// An ed25519 key pair in memory.
pub struct Ed25519Signer {
    pair: Ed25519KeyPair,
    key: Key,
}

impl Ed25519Signer {
    /// From the 32 bytes of a secret seed (RFC 8032). `None` for another length.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let key = Key::ed25519(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pair, key })
    }
}

impl Signer for Ed25519Signer {
    fn key(&self) -> &Key {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

/// Signs metadata with each key, in order.
///
/// # Errors
/// See [`SignError`].
pub fn sign<T: Serialize>(signed: T, signers: &[&dyn Signer]) -> Result<Signed<T>, SignError> {
    let value = serde_json::to_value(&signed).map_err(|error| SignError::Encode(error.to_string()))?;
    let message = canonical(&value)?;
    let signatures = signers.iter().map(|signer| {
        let keyid = signer.key().id();
        match signer.sign(&message) {
            Ok(bytes) => Ok(Signature { keyid, sig: hex(&bytes), extra: Extra::new() }),
            Err(why) => Err(SignError::Key { id: keyid, why }),
        }
    });
    Ok(Signed { signatures: signatures.collect::<Result<_, _>>()?, signed, extra: Extra::new() })
}
