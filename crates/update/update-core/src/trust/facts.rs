//! What a verification depends on, and why one fails.

use release::{Digest, MetadataError, Version};
use serde::{Deserialize, Serialize};
use tuf::Mismatch;

use crate::roots::Clock;

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
    /// The machine's time.
    pub clock: Clock,
    /// The root in force.
    pub root: RootInForce,
    /// What was accepted before.
    pub state: TrustState,
    /// Versions that are never accepted, unless by [`UpdateOptions::retry`].
    pub bans: &'a [Ban],
    /// What the operator allows this time.
    pub options: UpdateOptions,
}

/// Whose root a machine trusts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// The image's.
    #[default]
    Image,
    /// The operator's, instead of the image's.
    Local,
}

/// The root that a machine trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootInForce {
    /// Whose it is, or which one leads to it.
    pub anchor: Anchor,
    /// From 1.
    pub version: u64,
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
    /// Whose root the rest was accepted under. Another one's resets the rest.
    #[serde(default)]
    pub anchor: Anchor,
    /// Version of that root; 0: none. The next root resets the rest, since a stolen key may have signed arbitrary
    /// numbers.
    #[serde(default)]
    pub root: u64,
    /// The highest epoch of an accepted release.
    pub epoch: u64,
    /// The highest version of `epoch` found good on this machine, or the one that an operator rolled back to.
    pub version: Option<Version>,
}

impl TrustState {
    /// Records a good version. A version that was only accepted does not count: its channel may go back to an older
    /// one.
    pub fn record_good(&mut self, version: &Version) {
        if self.version.as_ref().is_none_or(|highest| highest < version) {
            self.version = Some(version.clone());
        }
    }

    /// The state that is valid under a root.
    #[must_use]
    pub fn valid_under(&self, root: RootInForce) -> Self {
        let RootInForce { anchor, version } = root;
        if self.root == 0 {
            Self { anchor, root: version, ..self.clone() }
        } else if self.anchor == anchor && self.root >= version {
            self.clone()
        } else {
            Self { anchor, root: version, ..Self::default() }
        }
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
    #[error("release.json differs from what targets.json lists")]
    Mismatch(#[from] Mismatch),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
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
    #[error("version {offered} is not what channel {channel} has: that is {current}")]
    NotOffered { offered: Version, channel: String, current: Version },
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
