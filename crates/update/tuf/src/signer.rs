//! Signatures over metadata.

use std::collections::BTreeMap;

use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;
use serde_json::Value;

use crate::canonical::{CanonicalError, canonical};
use crate::digests::hex;
use crate::json::{self, Extra, JsonError};
use crate::key::{Key, KeyId};
use crate::metadata::{RoleKeys, Signature, Signed};

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
    #[error("the file is not JSON")]
    Json(#[from] JsonError),
    #[error("the file has no `signed` and `signatures`")]
    NotMetadata,
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

/// A key pair as a role lists it: under the id there, which may cover fields that the specification does not define.
pub struct ListedSigner<'a> {
    key: Key,
    signer: &'a dyn Signer,
}

impl<'a> ListedSigner<'a> {
    /// `None` if the role has no such key. `keys` are those of its delegator.
    #[must_use]
    pub fn of(role: &RoleKeys, keys: &BTreeMap<KeyId, Key>, signer: &'a dyn Signer) -> Option<Self> {
        let own = signer.key();
        let (id, key) = role.keyids.iter().find_map(|id| {
            let key = keys.get(id)?;
            (key.identity()? == own.identity()?).then_some((id, key))
        })?;
        // The id may cover the defined fields only.
        let plain = || Key { extra: Extra::new(), ..key.clone() };
        let key = if key.id() == *id { key.clone() } else { plain() };
        Some(Self { key, signer })
    }
}

impl Signer for ListedSigner<'_> {
    fn key(&self) -> &Key {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.signer.sign(message)
    }
}

/// Signs metadata with each key, in order.
///
/// # Errors
/// See [`SignError`].
pub fn sign<T: Serialize>(signed: T, signers: &[&dyn Signer]) -> Result<Signed<T>, SignError> {
    let value = serde_json::to_value(&signed).map_err(|error| SignError::Encode(error.to_string()))?;
    Ok(Signed { signatures: signatures(&value, signers)?, signed, extra: Extra::new() })
}

/// Adds signatures to a file, for keys in separate places. Nothing else of it changes, also fields that the
/// specification does not define; a signature of the same key is replaced.
///
/// # Errors
/// See [`SignError`]. The file's other signatures are not verified.
pub fn add_signatures(file: &[u8], signers: &[&dyn Signer]) -> Result<Vec<u8>, SignError> {
    let tree = json::parse(file)?;
    let new = signatures(tree.get("signed").ok_or(SignError::NotMetadata)?, signers)?;
    insert(tree, &new)
}

/// Like [`add_signatures`], for signatures that were made elsewhere. They are not verified.
///
/// # Errors
/// See [`SignError`].
pub fn insert_signatures(file: &[u8], new: &[Signature]) -> Result<Vec<u8>, SignError> {
    insert(json::parse(file)?, new)
}

fn insert(mut tree: Value, new: &[Signature]) -> Result<Vec<u8>, SignError> {
    let all = tree.get_mut("signatures").and_then(Value::as_array_mut).ok_or(SignError::NotMetadata)?;
    all.retain(|old| !new.iter().any(|new| old.get("keyid").and_then(Value::as_str) == Some(&new.keyid)));
    for signature in new {
        all.push(serde_json::to_value(signature).map_err(|error| SignError::Encode(error.to_string()))?);
    }
    let mut bytes = serde_json::to_vec_pretty(&tree).map_err(|error| SignError::Encode(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn signatures(signed: &Value, signers: &[&dyn Signer]) -> Result<Vec<Signature>, SignError> {
    let message = canonical(signed)?;
    let signature = |signer: &&dyn Signer| {
        let keyid = signer.key().id();
        match signer.sign(&message) {
            Ok(bytes) => Ok(Signature { keyid, sig: hex(&bytes), extra: Extra::new() }),
            Err(why) => Err(SignError::Key { id: keyid, why }),
        }
    };
    signers.iter().map(signature).collect()
}
