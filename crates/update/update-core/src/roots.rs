//! Root metadata (contract 5.1): TUF's root, whose roles have Keelson's keys.
//!
//! | role here | roles in the root | signs |
//! |---|---|---|
//! | root | `root` | roots, by a threshold |
//! | release | `targets` | what releases are |
//! | channel | `timestamp`, `snapshot` | which release a channel has, and when that was |
//!
//! Roots form a chain: each one is signed by a threshold of the root keys of its predecessor, and of its own, which
//! proves that the new keys can sign.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use release::{FileName, PublicKeyBytes};
use tuf::{Error, Key, MetadataError, Root, metadata_file, role_type};

/// Maximum size of a root in bytes.
pub const MAX_ROOT: usize = 64 << 10;
/// Maximum number of keys per role.
pub const MAX_KEYS: usize = 16;
/// A single root key must never suffice: it may be stolen.
pub const MIN_THRESHOLD: u64 = 2;
/// The root in an image.
pub const FILE: &str = "root.json";

/// Field of a key: its name. TUF's clients ignore it.
const KEY_NAME: &str = "x-keelson-name";

/// Who a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Signs roots. Offline.
    Root,
    /// Signs targets metadata. Offline.
    Release,
    /// Signs timestamp, snapshot and channels. Online: in the server.
    Channel,
}

/// A key and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// Unique within its role.
    pub name: FileName,
    /// As the root lists it.
    pub key: Key,
}

/// The machine's time, Unix time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// By the machine's clock.
    pub now: u64,
    /// Of the running image. A clock before it is wrong; expiry is not checked then.
    pub build_time: u64,
}

/// A root that is TUF's, and not Keelson's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid root: {0}")]
pub struct RuleError(String);

impl Role {
    /// From the most to the least powerful.
    pub const ALL: [Self; 3] = [Self::Root, Self::Release, Self::Channel];

    /// `root`, `release`, `channel`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Channel => "channel",
        }
    }

    /// TUF's roles that have its keys.
    #[must_use]
    pub fn in_root(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[role_type::ROOT],
            Self::Release => &[role_type::TARGETS],
            Self::Channel => &[role_type::TIMESTAMP, role_type::SNAPSHOT],
        }
    }

    fn key_ids(self, root: &Root) -> &[String] {
        let role = self.in_root().first().and_then(|role| root.role(role));
        role.map_or(&[], |role| &role.keyids)
    }
}

impl NamedKey {
    /// A key of 32 bytes.
    #[must_use]
    pub fn new(name: FileName, public: &PublicKeyBytes) -> Self {
        Self::of(name, Key::ed25519(public))
    }

    /// A key of any type, such as one on a token.
    #[must_use]
    pub fn of(name: FileName, mut key: Key) -> Self {
        key.extra.insert(KEY_NAME.to_owned(), name.as_str().into());
        Self { name, key }
    }

    /// Compares the keys, ignoring their names.
    #[must_use]
    pub fn is_key(&self, public: &PublicKeyBytes) -> bool {
        self.key.identity().is_some_and(|key| key == public)
    }

    /// A key of a root. One without a name has the begin of its id as a name.
    fn listed(id: &str, key: &Key) -> Option<Self> {
        let name = key.extra.get(KEY_NAME).and_then(serde_json::Value::as_str);
        let name = name.and_then(|name| name.parse().ok()).or_else(|| id.get(..8)?.parse().ok())?;
        Some(Self { name, key: key.clone() })
    }
}

impl Clock {
    /// Whether it is before the build time.
    #[must_use]
    pub fn is_wrong(self) -> bool {
        self.now < self.build_time
    }

    /// Unix time in seconds; `None` if the clock is wrong.
    #[must_use]
    pub fn time(self) -> Option<u64> {
        (!self.is_wrong()).then_some(self.now)
    }

    /// Unix time in seconds for TUF: nothing is expired if the clock is wrong.
    #[must_use]
    pub fn for_tuf(self) -> i64 {
        self.time().map_or(0, |now| i64::try_from(now).unwrap_or(i64::MAX))
    }
}

/// `VERSION.root.json`.
#[must_use]
pub fn file(version: u64) -> String {
    metadata_file(role_type::ROOT, Some(version))
}

/// The inverse of [`file()`].
#[must_use]
pub fn version_of(name: &str) -> Option<u64> {
    let version = name.strip_suffix(".root.json")?.parse().ok()?;
    (file(version) == name).then_some(version)
}

/// The root's version.
#[must_use]
pub fn version(root: &Root) -> u64 {
    root.header.version.get()
}

/// Unix time in seconds from which nothing that the root's keys signed is accepted, except the next root.
#[must_use]
pub fn expires(root: &Root) -> u64 {
    u64::try_from(root.header.expires.unix()).unwrap_or(0)
}

/// The keys of a role, in the order of the root.
#[must_use]
pub fn named_keys(root: &Root, role: Role) -> Vec<NamedKey> {
    let listed = |id: &String| NamedKey::listed(id, root.keys.get(id)?);
    role.key_ids(root).iter().filter_map(listed).collect()
}

/// Replaces the keys of a role, of which `threshold` must sign.
pub fn set_keys(root: &mut Root, role: Role, keys: &[NamedKey], threshold: NonZeroU64) {
    let keys: Vec<&Key> = keys.iter().map(|named| &named.key).collect();
    for role in role.in_root() {
        root.set_keys(role, &keys, threshold);
    }
}

/// The root keys of `root` that signed the root in `bytes`, each once.
///
/// # Errors
/// `bytes` are malformed.
pub fn signers(root: &Root, bytes: &[u8]) -> Result<Vec<FileName>, MetadataError> {
    let ids = root.signers_of(bytes)?;
    let name = |id: &String| Some(NamedKey::listed(id, root.keys.get(id)?)?.name);
    Ok(ids.iter().filter_map(name).collect())
}

/// Checks what TUF allows and Keelson does not. Before a root is signed or published: a machine accepts what a threshold
/// of root keys signed.
///
/// # Errors
/// The first rule that is broken.
pub fn check(root: &Root) -> Result<(), RuleError> {
    let threshold = root.roles.root.threshold.get();
    if threshold < MIN_THRESHOLD {
        return Err(RuleError(format!("threshold of root: must be at least {MIN_THRESHOLD}")));
    }
    let (mut names, mut identities) = (BTreeMap::new(), BTreeMap::new());
    for role in Role::ALL {
        let (kind, all) = (role.name(), named_keys(root, role));
        if !(1..=MAX_KEYS).contains(&role.key_ids(root).len()) {
            return Err(RuleError(format!("{kind}: must have 1 to {MAX_KEYS} keys")));
        }
        // Nobody can sign with it: the next root might never reach the threshold.
        if let Some(id) = role.key_ids(root).iter().find(|id| !root.keys.contains_key(*id)) {
            return Err(RuleError(format!("{kind}: there is no key with the id {id}")));
        }
        check_roles(root, role)?;
        for NamedKey { name, key } in all {
            let Some(identity) = key.identity() else {
                return Err(RuleError(format!("{kind} `{name}` is of an unknown type")));
            };
            // A key with two roles would compromise both when stolen.
            if let Some(other) = identities.insert(identity, name.clone()) {
                return Err(RuleError(format!("`{other}` and {kind} `{name}` are the same key")));
            }
            if names.insert((role, name.clone()), ()).is_some() {
                return Err(RuleError(format!("two {kind} keys have the name `{name}`")));
            }
        }
    }
    Ok(())
}

/// Checks what TUF's roles of a role here have: the same keys, and a threshold that these can reach.
fn check_roles(root: &Root, role: Role) -> Result<(), RuleError> {
    let keys = role.key_ids(root);
    for name in role.in_root() {
        let Some(listed) = root.role(name) else { continue };
        if listed.keyids != keys {
            return Err(RuleError(format!("{name}: must have the {} keys", role.name())));
        }
        let (threshold, count) = (listed.threshold.get(), keys.len() as u64);
        if threshold > count {
            return Err(RuleError(format!("threshold of {name}: greater than the number of keys, {count}")));
        }
        // A server has one key.
        if role == Role::Channel && threshold > 1 {
            return Err(RuleError(format!("threshold of {name}: must be 1")));
        }
    }
    Ok(())
}

/// Verifies the roots that were accepted after `trusted`, and returns the last one, expired or not.
///
/// # Errors
/// A root is not accepted.
pub fn replay(trusted: &Root, accepted: &[Vec<u8>]) -> Result<Root, Error> {
    let mut last = trusted.clone();
    for bytes in accepted {
        let next = last.next(bytes);
        last = next.map_err(|cause| Error { file: file(version(&last).saturating_add(1)), cause })?;
    }
    Ok(last)
}

#[cfg(test)]
pub(crate) mod tests;
