//! What a verification depends on, and why one fails.

use release::{Digest, KeySet, Keys, MetadataError, Role, SignatureError, Version};
use serde::{Deserialize, Serialize};

/// The machine's side of the verification.
#[derive(Debug, Clone)]
pub struct VerifyContext<'a> {
    /// The machine's product, in braces.
    pub appid: &'a str,
    /// The machine's board.
    pub board: &'a str,
    /// The channel that the machine follows.
    pub channel: &'a str,
    /// `None` when provisioning a new machine.
    pub running: Option<&'a Version>,
    /// Unix time in seconds, by the machine's clock.
    pub now: u64,
    /// Unix time in seconds, of the running image.
    pub build_time: u64,
    /// What was accepted before.
    pub state: TrustState,
    /// Versions that are never accepted, unless by [`UpdateOptions::retry`].
    pub bans: &'a [Ban],
    /// What the operator allows this time.
    pub options: UpdateOptions,
}

/// Options that an operator sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateOptions {
    /// Accept older versions than the running one.
    pub downgrade: bool,
    /// Accept versions that failed on this machine.
    pub retry: bool,
}

/// Rollback protection: the lowest values to accept from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustState {
    /// Epoch of the key set that the rest was accepted under; 0: none. The next set resets the rest, since a stolen
    /// key may have signed arbitrary numbers.
    #[serde(default, skip_serializing_if = "is_none")]
    pub keys: u64,
    /// The highest epoch of an accepted release.
    pub epoch: u64,
    /// The highest version of `epoch` found good on this machine, or the one that an operator rolled back to.
    pub version: Option<Version>,
    /// The latest issue time of a timestamp, Unix time in seconds. No evidence of the time of day: only a floor.
    pub issued: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(keys: &u64) -> bool {
    *keys == 0
}

impl TrustState {
    /// Records a good version. A version that was only accepted does not count: its channel may go back to an older
    /// one.
    pub fn record_good(&mut self, version: &Version) {
        if self.version.as_ref().is_none_or(|highest| highest < version) {
            self.version = Some(version.clone());
        }
    }

    /// The state that is valid under key set `keys`.
    #[must_use]
    pub fn valid_under(&self, keys: u64) -> Self {
        if self.keys < keys { Self { keys, ..Self::default() } } else { self.clone() }
    }
}

/// A version that failed on this machine, or that its operator rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// The version of the image, for messages.
    pub version: Version,
    /// Identifies the banned image.
    pub root_hash: Digest,
    /// For operators.
    pub reason: String,
    /// Unix time in seconds.
    pub since: u64,
}

/// Why an offer is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum VerifyError {
    #[error("{file}: {why}")]
    Signature { file: &'static str, why: SignatureError },
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("key set {epoch} expired at {expires} (Unix time), and no newer set is known")]
    KeysExpired { epoch: u64, expires: u64 },
    #[error(
        "key set {recorded} was in force on this machine, but the sets that lead to it are lost: set {known} is known; a \
         check of a server that has them resolves this"
    )]
    KeysLost { recorded: u64, known: u64 },
    #[error("the release is for product {0}, not for this machine's")]
    WrongProduct(String),
    #[error("the release is for board {0}, not for this machine's")]
    WrongBoard(String),
    #[error("version {version} is not signed for channel {channel}")]
    NotForChannel { version: Version, channel: String },
    #[error("timestamp.json is for channel {found}, this machine follows {wanted}")]
    WrongChannel { found: String, wanted: String },
    #[error("timestamp.json is for another release than release.json")]
    MixedReleases,
    #[error("timestamp.json is replayed: it was issued at {issued}, an earlier one at {recorded}")]
    Replayed { issued: u64, recorded: u64 },
    #[error(
        "timestamp.json was issued at {issued} (Unix time), more than a day after this machine's clock, {now}: one of \
         the clocks is wrong"
    )]
    FromFuture { issued: u64, now: u64 },
    #[error("timestamp.json expired at {0} (Unix time): the state of the channel is outdated")]
    Stale(u64),
    #[error("version {version} expired at {expires} (Unix time)")]
    Expired { version: Version, expires: u64 },
    #[error("version {offered} is older than {than}")]
    Downgrade { offered: Version, than: Version },
    #[error("the release has epoch {offered} of the signing keys, but epoch {recorded} is known")]
    OldEpoch { offered: u64, recorded: u64 },
    #[error("version {version} can be installed from version {from} or later; {running} is running")]
    BelowMinFrom { version: Version, from: Version, running: Version },
    #[error(
        "version {version} is banned on this machine: {reason}; `update-agent retry {version}` allows it"
    )]
    Banned { version: Version, reason: String },
}

/// Trusted keys by role.
#[derive(Debug, Default)]
pub struct RoleKeys {
    /// For releases.
    pub release: Keys,
    /// For channel timestamps.
    pub channel: Keys,
}

impl RoleKeys {
    /// The keys of a key set.
    #[must_use]
    pub fn of(key_set: &KeySet) -> Self {
        Self { release: key_set.keys(Role::Release), channel: key_set.keys(Role::Channel) }
    }
}

/// All keys that a machine trusts.
#[derive(Debug, Default)]
pub struct TrustAnchors {
    /// From the image, or from the key set.
    pub vendor: RoleKeys,
    /// The key set, if any.
    pub key_set: Option<ActiveKeySet>,
    /// The operator's keys, independent of the key set.
    pub local: RoleKeys,
}

/// The key set in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveKeySet {
    /// Of the key set.
    pub epoch: u64,
    /// Unix time in seconds.
    pub expires: u64,
}

impl ActiveKeySet {
    /// The epoch and the expiry of a key set.
    #[must_use]
    pub fn of(key_set: &KeySet) -> Self {
        Self { epoch: key_set.epoch, expires: key_set.expires }
    }
}
