//! `length` and `hashes` of files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// `hashes`: hexadecimal digests by algorithm. `sha256` and `sha512` are verified, others are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digests(pub BTreeMap<String, String>);

/// Bytes that are not those that the metadata describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another length.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// Of the bytes.
        found: u64,
        /// In the metadata.
        expected: u64,
    },
    /// Another digest.
    #[error("another {algorithm} digest: {found}, expected {expected}")]
    Digest {
        /// `sha256` or `sha512`.
        algorithm: &'static str,
        /// Of the bytes.
        found: String,
        /// In the metadata.
        expected: String,
    },
    /// No algorithm that could be verified.
    #[error("no sha256 or sha512 digest is listed")]
    NoDigest,
}

pub const SHA256: &str = "sha256";
pub const SHA512: &str = "sha512";

/// Hashes the bytes of a file as they arrive.
#[derive(Debug, Clone)]
pub struct Hasher {
    length: u64,
    sha256: Sha256,
    /// The slower one, only where it is listed.
    sha512: Option<Sha512>,
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Decodes hexadecimal digits of either case.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

impl Digests {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self([(SHA256.to_owned(), hex(&Sha256::digest(bytes)))].into())
    }

    /// The digest for a file name: SHA-256, or else SHA-512. `None` if neither is listed.
    #[must_use]
    pub fn for_name(&self) -> Option<&str> {
        [SHA256, SHA512].into_iter().find_map(|algorithm| self.0.get(algorithm)).map(String::as_str)
    }

    /// A digest that is listed has the length and digits of one.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (algorithm, length) in [(SHA256, 32), (SHA512, 64)] {
            if let Some(digest) = self.0.get(algorithm)
                && (unhex(digest).is_none_or(|bytes| bytes.len() != length)
                    || digest.bytes().any(|byte| byte.is_ascii_uppercase()))
            {
                return Err(format!("{algorithm}: expected {} lowercase hexadecimal digits", length * 2));
            }
        }
        Ok(())
    }

    pub(crate) fn hasher(&self) -> Hasher {
        let sha512 = self.0.contains_key(SHA512).then(Sha512::new);
        Hasher { length: 0, sha256: Sha256::new(), sha512 }
    }

    /// Whether `bytes` have every listed digest, and at least one is known.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.verify(self)
    }
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn verify(self, expected: &Digests) -> Result<(), Mismatch> {
        if expected.for_name().is_none() {
            return Err(Mismatch::NoDigest);
        }
        let sha512 = self.sha512.map(|sha512| hex(&sha512.finalize()));
        for (algorithm, found) in [(SHA256, Some(hex(&self.sha256.finalize()))), (SHA512, sha512)] {
            if let (Some(expected), Some(found)) = (expected.0.get(algorithm), found)
                && *expected != found
            {
                return Err(Mismatch::Digest { algorithm, found, expected: expected.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_digest_must_match_and_one_must_be_known() {
        let good = Digests::of(b"text");
        good.verify(b"text").unwrap();
        assert!(matches!(good.verify(b"texT"), Err(Mismatch::Digest { algorithm: SHA256, .. })));
        let mut both = good.clone();
        both.0.insert(SHA512.to_owned(), hex(&Sha512::digest(b"text")));
        both.0.insert("md5".to_owned(), "00".to_owned());
        both.verify(b"text").unwrap();
        both.0.insert(SHA512.to_owned(), "0".repeat(128));
        assert!(matches!(both.verify(b"text"), Err(Mismatch::Digest { algorithm: SHA512, .. })));
        let unknown = Digests([("md5".to_owned(), "00".to_owned())].into());
        assert_eq!(unknown.verify(b"text"), Err(Mismatch::NoDigest));
        assert!(Digests([(SHA256.to_owned(), "AB".repeat(32))].into()).check().is_err());
        assert!(Digests([(SHA256.to_owned(), "../".repeat(22))].into()).check().is_err());
    }
}
