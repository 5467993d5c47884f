//! `timestamp.json` and `snapshot.json`: versions of other metadata.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::signed::{Header, Role, role_type};
use crate::date::Date;
use crate::digests::{Digests, Mismatch};
use crate::json::Extra;

/// The current snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Fields of all roles.
    #[serde(flatten)]
    pub header: Header,
    /// `snapshot.json` only.
    pub meta: BTreeMap<String, MetaFile>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The versions of all targets metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Fields of all roles.
    #[serde(flatten)]
    pub header: Header,
    /// By file name, without version and quoting: `ROLE.json`.
    pub meta: BTreeMap<String, MetaFile>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A metadata file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaFile {
    /// From 1.
    pub version: NonZeroU64,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Of the file as served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Digests>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

const SNAPSHOT_FILE: &str = "snapshot.json";

/// A role's name in `meta`.
pub fn meta_name(role: &str) -> String {
    format!("{role}.json")
}

impl MetaFile {
    /// A version, without length and digests.
    #[must_use]
    pub fn version(version: NonZeroU64) -> Self {
        Self { version, length: None, hashes: None, extra: Extra::new() }
    }

    /// A version with the length and SHA-256 digest of its bytes.
    #[must_use]
    pub fn of(version: NonZeroU64, bytes: &[u8]) -> Self {
        let (length, hashes) = (Some(bytes.len() as u64), Some(Digests::of(bytes)));
        Self { version, length, hashes, extra: Extra::new() }
    }

    /// Whether the bytes have the length and digests, if there are any.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let found = bytes.len() as u64;
        if let Some(expected) = self.length.filter(|expected| *expected != found) {
            return Err(Mismatch::Length { found, expected });
        }
        self.hashes.as_ref().map_or(Ok(()), |hashes| hashes.verify(bytes))
    }

    fn check(&self) -> Result<(), String> {
        self.hashes.as_ref().map_or(Ok(()), Digests::check)
    }
}

impl Timestamp {
    /// A timestamp of this snapshot.
    #[must_use]
    pub fn new(expires: Date, snapshot: MetaFile) -> Self {
        let header = Header::new(role_type::TIMESTAMP, NonZeroU64::MIN, expires);
        Self { header, meta: [(SNAPSHOT_FILE.to_owned(), snapshot)].into(), extra: Extra::new() }
    }

    /// The snapshot's description. `None` for no parsed file.
    ///
    #[must_use]
    pub fn snapshot(&self) -> Option<&MetaFile> {
        self.meta.get(SNAPSHOT_FILE)
    }
}

impl Snapshot {
    /// A snapshot that lists nothing yet.
    #[must_use]
    pub fn new(expires: Date) -> Self {
        let header = Header::new(role_type::SNAPSHOT, NonZeroU64::MIN, expires);
        Self { header, meta: BTreeMap::new(), extra: Extra::new() }
    }

    /// The description of a role's metadata.
    #[must_use]
    pub fn role(&self, role: &str) -> Option<&MetaFile> {
        self.meta.get(&meta_name(role))
    }

    /// Lists a version of a role's metadata.
    pub fn list(&mut self, role: &str, file: MetaFile) {
        self.meta.insert(meta_name(role), file);
    }
}

fn check_meta(meta: &BTreeMap<String, MetaFile>, expected: &str) -> Result<(), String> {
    if !meta.contains_key(expected) {
        return Err(format!("meta: `{expected}` is missing"));
    }
    meta.iter().try_for_each(|(name, file)| file.check().map_err(|why| format!("meta: {name}: {why}")))
}

impl Role for Timestamp {
    const TYPE: &'static str = role_type::TIMESTAMP;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        check_meta(&self.meta, SNAPSHOT_FILE)?;
        match self.meta.keys().find(|name| *name != SNAPSHOT_FILE) {
            Some(other) => Err(format!("meta: `{other}` is not allowed in a timestamp")),
            None => Ok(()),
        }
    }
}

impl Role for Snapshot {
    const TYPE: &'static str = role_type::SNAPSHOT;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        check_meta(&self.meta, &meta_name(role_type::TARGETS))
    }
}
