//! Public keys and signatures in minisign's format.

use std::fmt;

use minisign_verify::{PublicKey, Signature};

/// Lines of a signature file.
const LINES: usize = 4;

/// A public key and its origin.
pub struct Key {
    /// For messages, usually the file name.
    pub name: String,
    key: PublicKey,
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

impl Keys {
    /// Adds the key in the text of a `.pub` file.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), KeyError> {
        let key = PublicKey::decode(text.trim_end())
            .map_err(|error| KeyError { name: name.to_owned(), why: error.to_string() })?;
        self.0.push(Key { name: name.to_owned(), key });
        Ok(())
    }

    pub(crate) fn push(&mut self, name: String, key: PublicKey) {
        self.0.push(Key { name, key });
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
        let signature =
            Signature::decode(signature).map_err(|error| SignatureError::Malformed(error.to_string()))?;
        // Key ids are not unique: try every key.
        self.0
            .iter()
            .find(|key| key.key.verify(bytes, &signature, false).is_ok())
            .ok_or(SignatureError::NotTrusted)
    }

    /// Whether each key signed `bytes`, in order. `signatures` is a concatenation of `.sig` files.
    pub fn which_signed(&self, bytes: &[u8], signatures: &str) -> Result<Vec<bool>, SignatureError> {
        let signatures = split_signatures(signatures);
        let decoded: Result<Vec<_>, _> = signatures.iter().map(|text| Signature::decode(text)).collect();
        let decoded = decoded.map_err(|error| SignatureError::Malformed(error.to_string()))?;
        let by = |key: &Key| decoded.iter().any(|signature| key.key.verify(bytes, signature, false).is_ok());
        Ok(self.0.iter().map(by).collect())
    }
}

/// Splits a concatenation of `.sig` files. The last one may be incomplete.
#[must_use]
pub fn split_signatures(signatures: &str) -> Vec<String> {
    let lines: Vec<&str> = signatures.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.chunks(LINES).map(|lines| lines.join("\n") + "\n").collect()
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

    #[test]
    fn an_invalid_key_is_reported_with_its_name() {
        let mut keys = Keys::default();
        let error = keys.add("a.pub", "untrusted comment: x\nAAAA\n").unwrap_err();
        assert!(error.to_string().starts_with("invalid minisign public key a.pub"), "{error}");
        assert!(keys.is_empty());
    }
}
