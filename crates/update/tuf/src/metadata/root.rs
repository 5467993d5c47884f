//! `root.json`: the keys of the top-level roles.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::signed::{Header, Role, role_type};
use crate::date::Date;
use crate::json::Extra;
use crate::key::{Key, KeyId};

/// The keys of the top-level roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Fields of all roles.
    #[serde(flatten)]
    pub header: Header,
    /// Whether file names have versions and digests.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// All keys.
    pub keys: BTreeMap<KeyId, Key>,
    /// Of each role.
    pub roles: TopLevel,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The four roles that every repository has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the roles")]
pub struct TopLevel {
    pub root: RoleKeys,
    pub timestamp: RoleKeys,
    pub snapshot: RoleKeys,
    pub targets: RoleKeys,
    /// Other roles, such as `mirrors`.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Which keys sign a role, and how many must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// Each once.
    pub keyids: Vec<KeyId>,
    /// Number of keys that must sign.
    pub threshold: NonZeroU64,
    /// Other fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl RoleKeys {
    /// These keys, of which `threshold` must sign.
    #[must_use]
    pub fn new(keyids: Vec<KeyId>, threshold: NonZeroU64) -> Self {
        Self { keyids, threshold, extra: Extra::new() }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        match self.keyids.iter().find(|id| !ids.insert(*id)) {
            Some(twice) => Err(format!("keyids: {twice} twice")),
            None => Ok(()),
        }
    }

    /// Whether a key of this role is none of `next`.
    pub(crate) fn lost_key(&self, next: &Self) -> bool {
        self.keyids.iter().any(|id| !next.keyids.contains(id))
    }
}

pub(super) fn check_ids(keys: &BTreeMap<KeyId, Key>) -> Result<(), String> {
    match keys.iter().find(|(id, key)| !key.has_id(id)) {
        Some((id, key)) => Err(format!("keys: {id} is not the id of its key, which is {}", key.id())),
        None => Ok(()),
    }
}

impl Root {
    /// A root whose roles have no keys yet.
    #[must_use]
    pub fn new(expires: Date, consistent_snapshot: bool) -> Self {
        let none = || RoleKeys::new(Vec::new(), NonZeroU64::MIN);
        Self {
            header: Header::new(role_type::ROOT, NonZeroU64::MIN, expires),
            consistent_snapshot,
            keys: BTreeMap::new(),
            roles: TopLevel {
                root: none(),
                timestamp: none(),
                snapshot: none(),
                targets: none(),
                extra: Extra::new(),
            },
            extra: Extra::new(),
        }
    }

    /// A top-level role's keys. `None` for a delegated role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&RoleKeys> {
        Some(match name {
            role_type::ROOT => &self.roles.root,
            role_type::TIMESTAMP => &self.roles.timestamp,
            role_type::SNAPSHOT => &self.roles.snapshot,
            role_type::TARGETS => &self.roles.targets,
            _ => return None,
        })
    }

    /// Replaces the keys of a top-level role, and drops keys that no role has any more. A delegated role's name
    /// changes nothing.
    pub fn set_keys(&mut self, role: &str, keys: &[&Key], threshold: NonZeroU64) {
        let roles = &mut self.roles;
        let place = match role {
            role_type::ROOT => &mut roles.root,
            role_type::TIMESTAMP => &mut roles.timestamp,
            role_type::SNAPSHOT => &mut roles.snapshot,
            role_type::TARGETS => &mut roles.targets,
            _ => return,
        };
        *place = RoleKeys::new(keys.iter().map(|key| key.id()).collect(), threshold);
        self.keys.extend(keys.iter().map(|key| (key.id(), (*key).clone())));
        let used = [&roles.root, &roles.timestamp, &roles.snapshot, &roles.targets];
        self.keys.retain(|id, _| used.iter().any(|role| role.keyids.contains(id)));
    }
}

impl Role for Root {
    const TYPE: &'static str = role_type::ROOT;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        check_ids(&self.keys)?;
        let TopLevel { root, timestamp, snapshot, targets, .. } = &self.roles;
        for (name, role) in
            [("root", root), ("timestamp", timestamp), ("snapshot", snapshot), ("targets", targets)]
        {
            role.check().map_err(|why| format!("roles: {name}: {why}"))?;
        }
        Ok(())
    }
}
