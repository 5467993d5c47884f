//! What a verification depends on, and why one fails.

use release::{Digest, Keys, MetadataError, SignatureError, Version};
use serde::{Deserialize, Serialize};
use tuf::Root;

use crate::roots::{self, Role};

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
    /// Version of the root that the rest was accepted under; 0: none. The next root resets the rest, since a stolen
    /// key may have signed arbitrary numbers.
    #[serde(default, skip_serializing_if = "is_none")]
    pub root: u64,
    /// The highest epoch of an accepted release.
    pub epoch: u64,
    /// The highest version of `epoch` found good on this machine, or the one that an operator rolled back to.
    pub version: Option<Version>,
    /// The latest issue time of a timestamp, Unix time in seconds. No evidence of the time of day: only a floor.
    pub issued: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(root: &u64) -> bool {
    *root == 0
}

impl TrustState {
    /// Records a good version. A version that was only accepted does not count: its channel may go back to an older
    /// one.
    pub fn record_good(&mut self, version: &Version) {
        if self.version.as_ref().is_none_or(|highest| highest < version) {
            self.version = Some(version.clone());
        }
    }

    /// The state that is valid under the root of version `root`.
    #[must_use]
    pub fn valid_under(&self, root: u64) -> Self {
        if self.root < root { Self { root, ..Self::default() } } else { self.clone() }
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
    #[error("root version {version} expired at {expires} (Unix time), and no newer one is known")]
    RootExpired { version: u64, expires: u64 },
    #[error(
        "root version {recorded} was in force on this machine, but the roots that lead to it are lost: version {known} is \
         known; a check of a server that has them resolves this"
    )]
    RootLost { recorded: u64, known: u64 },
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
    /// The keys of a root.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self { release: roots::keys(root, Role::Release), channel: roots::keys(root, Role::Channel) }
    }
}

/// All keys that a machine trusts.
#[derive(Debug, Default)]
pub struct TrustAnchors {
    /// From the image, or from the root.
    pub vendor: RoleKeys,
    /// The root, if any.
    pub root: Option<ActiveRoot>,
    /// The operator's keys, independent of the root.
    pub local: RoleKeys,
}

/// The root in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveRoot {
    /// Of the root.
    pub version: u64,
    /// Unix time in seconds.
    pub expires: u64,
}

impl ActiveRoot {
    /// The version and the expiry of a root.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self { version: roots::version(root), expires: roots::expires(root) }
    }
}
