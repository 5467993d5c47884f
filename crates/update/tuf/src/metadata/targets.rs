//! `targets.json`, and the metadata of delegated roles.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::root::{RoleKeys, check_ids};
use super::signed::{Header, Role, RoleName, role_type};
use crate::date::Date;
use crate::digests::{Digests, Mismatch};
use crate::json::Extra;
use crate::key::{Key, KeyId};
use crate::pattern::{path_digest, pattern_matches};

/// Target files, and delegations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Fields of all roles.
    #[serde(flatten)]
    pub header: Header,
    /// By path.
    pub targets: BTreeMap<String, TargetFile>,
    /// In order of priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A target file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFile {
    /// In bytes.
    pub length: u64,
    /// At least one of a known algorithm, or the file cannot be verified.
    pub hashes: Digests,
    /// For the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Extra>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Roles that are trusted with some target paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegations {
    /// The keys of all roles.
    pub keys: BTreeMap<KeyId, Key>,
    /// The first one has the highest priority.
    pub roles: Vec<DelegatedRole>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A role, its keys, and the paths that it is trusted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// Unique among its delegator's roles, and not the name of a top-level role.
    pub name: RoleName,
    /// Each once.
    pub keyids: Vec<KeyId>,
    /// Number of keys that must sign.
    pub threshold: NonZeroU64,
    /// Whether later roles do not count for its paths.
    #[serde(default)]
    pub terminating: bool,
    /// Patterns of paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Prefixes of the digests of paths, instead of `paths`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a role is trusted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    /// Patterns of paths.
    Patterns(Vec<String>),
    /// Prefixes of the digests of paths.
    HashPrefixes(Vec<String>),
}

impl Targets {
    /// Without target files.
    #[must_use]
    pub fn new(expires: Date) -> Self {
        let header = Header::new(role_type::TARGETS, NonZeroU64::MIN, expires);
        Self { header, targets: BTreeMap::new(), delegations: None, extra: Extra::new() }
    }

    /// Trusts the keys with some paths, after all earlier delegations.
    pub fn delegate(
        &mut self,
        name: &str,
        keys: &[&Key],
        threshold: NonZeroU64,
        terminating: bool,
        paths: Paths,
    ) {
        let delegations = self.delegations.get_or_insert_default();
        delegations.keys.extend(keys.iter().map(|key| (key.id(), (*key).clone())));
        let (paths, path_hash_prefixes) = match paths {
            Paths::Patterns(patterns) => (Some(patterns), None),
            Paths::HashPrefixes(prefixes) => (None, Some(prefixes)),
        };
        delegations.roles.push(DelegatedRole {
            name: name.to_owned(),
            keyids: keys.iter().map(|key| key.id()).collect(),
            threshold,
            terminating,
            paths,
            path_hash_prefixes,
            extra: Extra::new(),
        });
    }
}

impl TargetFile {
    /// The length and SHA-256 digest of a file.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, hashes: Digests::of(bytes), custom: None, extra: Extra::new() }
    }

    /// Whether the bytes are the file's.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let (found, expected) = (bytes.len() as u64, self.length);
        if found != expected {
            return Err(Mismatch::Length { found, expected });
        }
        self.hashes.verify(bytes)
    }
}

impl DelegatedRole {
    /// Whether the role is trusted with a target path.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let patterns = self.paths.iter().flatten();
        let digest = self.path_hash_prefixes.as_ref().map(|_| path_digest(path)).unwrap_or_default();
        patterns.into_iter().any(|pattern| pattern_matches(pattern, path))
            || self.path_hash_prefixes.iter().flatten().any(|prefix| digest.starts_with(prefix))
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> RoleKeys {
        RoleKeys::new(self.keyids.clone(), self.threshold)
    }

    fn check(&self) -> Result<(), String> {
        const TOP: [&str; 5] =
            [role_type::ROOT, role_type::TIMESTAMP, role_type::SNAPSHOT, role_type::TARGETS, ""];
        if TOP.contains(&&*self.name) {
            return Err("the name is that of a top-level role, or empty".to_owned());
        }
        if self.paths.is_some() == self.path_hash_prefixes.is_some() {
            return Err("expected one of paths and path_hash_prefixes".to_owned());
        }
        self.keys().check()
    }
}

impl Role for Targets {
    const TYPE: &'static str = role_type::TARGETS;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        for (path, target) in &self.targets {
            target.hashes.check().map_err(|why| format!("targets: {path}: {why}"))?;
        }
        let Some(Delegations { keys, roles, .. }) = &self.delegations else { return Ok(()) };
        check_ids(keys).map_err(|why| format!("delegations: {why}"))?;
        let mut names = BTreeSet::new();
        for role in roles {
            let place = |why: String| format!("delegations: roles: `{}`: {why}", role.name);
            role.check().map_err(place)?;
            if !names.insert(&role.name) {
                return Err(place("twice".to_owned()));
            }
        }
        Ok(())
    }
}
