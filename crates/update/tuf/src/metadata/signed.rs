//! What all metadata has: an envelope with signatures, and the fields of section 4.3 in common.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{CanonicalError, canonical};
use crate::date::Date;
use crate::json::{self, Extra, JsonError};
use crate::key::KeyId;

/// The specification that is implemented. Of a file, only the major version must be the same.
pub const SPEC_VERSION: &str = "1.0.34";
const MAJOR: &str = "1.";

/// `targets`, or the name of a delegated role.
pub type RoleName = String;

/// `_type` of each kind of metadata.
pub mod role_type {
    /// [`Root`](crate::Root).
    pub const ROOT: &str = "root";
    /// [`Timestamp`](crate::Timestamp).
    pub const TIMESTAMP: &str = "timestamp";
    /// [`Snapshot`](crate::Snapshot).
    pub const SNAPSHOT: &str = "snapshot";
    /// [`Targets`](crate::Targets), also delegated ones.
    pub const TARGETS: &str = "targets";
}

/// Fields of all roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// One of [`role_type`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// [`SPEC_VERSION`], or another one of the same major version.
    pub spec_version: String,
    /// From 1.
    pub version: NonZeroU64,
    /// When it must no longer be used.
    pub expires: Date,
}

/// Metadata with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// At most one of each key.
    pub signatures: Vec<Signature>,
    /// The metadata.
    pub signed: T,
    /// Other fields, which nobody signs.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One key's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Of the key.
    pub keyid: KeyId,
    /// Hexadecimal digits.
    pub sig: String,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Why a file is not the metadata that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum MetadataError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("no canonical form")]
    Canonical(#[from] CanonicalError),
    #[error("_type `{found}`, expected `{expected}`")]
    Type { found: String, expected: &'static str },
    #[error("spec_version `{0}`, supported are versions 1.x")]
    SpecVersion(String),
    #[error("signatures: two of key {0}")]
    TwoSignatures(KeyId),
    #[error("{0}")]
    Invalid(String),
}

/// One kind of metadata.
pub trait Role: Serialize + DeserializeOwned {
    /// The value of `_type`.
    const TYPE: &'static str;

    fn header(&self) -> &Header;

    /// What types do not express.
    fn check(&self) -> Result<(), String>;
}

/// A parsed file, and the bytes that its signatures cover.
#[derive(Debug, Clone)]
pub struct Parsed<T> {
    pub value: T,
    pub signatures: Vec<Signature>,
    pub canonical: Vec<u8>,
}

#[derive(Deserialize)]
struct SignedHeader {
    signed: Header,
}

impl Header {
    pub(crate) fn new(kind: &str, version: NonZeroU64, expires: Date) -> Self {
        Self { kind: kind.to_owned(), spec_version: SPEC_VERSION.to_owned(), version, expires }
    }
}

impl<T: Role> Parsed<T> {
    /// Parses a file, without verifying its signatures.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let tree = json::parse(bytes)?;
        // Parsed twice: errors of the second have a place, and the types cannot lose a field of the first.
        let header: SignedHeader = serde_json::from_slice(bytes).map_err(JsonError::from)?;
        let SignedHeader { signed: Header { kind, spec_version, .. } } = header;
        if kind != T::TYPE {
            return Err(MetadataError::Type { found: kind, expected: T::TYPE });
        }
        if !spec_version.starts_with(MAJOR) {
            return Err(MetadataError::SpecVersion(spec_version));
        }
        let Signed { signatures, signed, .. }: Signed<T> =
            serde_json::from_slice(bytes).map_err(JsonError::from)?;
        signed.check().map_err(MetadataError::Invalid)?;
        let mut ids = BTreeSet::new();
        if let Some(twice) = signatures.iter().find(|signature| !ids.insert(&signature.keyid)) {
            return Err(MetadataError::TwoSignatures(twice.keyid.clone()));
        }
        let canonical = canonical(tree.get("signed").unwrap_or(&Value::Null))?;
        Ok(Self { value: signed, signatures, canonical })
    }
}

impl<T: Role> Signed<T> {
    /// Parses a file. Its signatures are **not** verified: [`Client`](crate::Client) does that.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let Parsed { value, signatures, .. } = Parsed::parse(bytes)?;
        Ok(Self { signatures, signed: value, extra: Extra::new() })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Signed::parse`] would refuse them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(JsonError::from)?;
        bytes.push(b'\n');
        Parsed::<T>::parse(&bytes)?;
        Ok(bytes)
    }
}
