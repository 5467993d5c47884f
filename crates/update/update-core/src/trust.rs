//! Verification of offers: signatures, freshness and rollback protection (contract 5).

mod verifier;

use release::{
    Digest, KeySet, Keys, MetadataError, Release, Role, SignatureError, Timestamp, Version, files::RELEASE,
};
use serde::{Deserialize, Serialize};

use verifier::{Verifier, verify_any};

/// An unverified offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// `release.json`, as served.
    pub release: Vec<u8>,
    /// `release.json.sig`.
    pub release_signature: String,
    /// SHA-256 of `release`.
    pub release_sha256: Digest,
    /// The signed timestamp of the channel. `None` for a release from a file.
    pub timestamp: Option<(Vec<u8>, String)>,
}

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
    fn valid_under(&self, keys: u64) -> Self {
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
        "key set {recorded} was in force on this machine but its file is lost: the known set {known} is older"
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

/// A verified offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRelease {
    /// Signed, and acceptable for this machine.
    pub release: Release,
    /// Persist it before the installation.
    pub state: TrustState,
    /// The clock is before the image's build time: expiry was not checked.
    pub clock_is_wrong: bool,
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

impl TrustAnchors {
    /// Verifies a timestamp's signature. [`verify_offer`] checks its content.
    pub fn verify_timestamp(&self, bytes: &[u8], signature: &str) -> Result<(), SignatureError> {
        verify_any(self, |roles| &roles.channel, bytes, signature).map(drop)
    }
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

/// Verifies `offer`. Parses nothing before its signature is verified. Persist nothing of an offer that fails.
pub fn verify_offer(
    offer: &Offer,
    authorities: &TrustAnchors,
    context: &VerifyContext<'_>,
) -> Result<VerifiedRelease, VerifyError> {
    let verifier = Verifier::new(authorities, context);
    let context = &verifier.context;
    verifier.check_signature(RELEASE, |roles| &roles.release, &offer.release, &offer.release_signature)?;
    let release = Release::parse(&offer.release)?;
    let mut state = context.state.clone();
    if let Some((bytes, signature)) = &offer.timestamp {
        let timestamp = verifier.timestamp(bytes, signature)?;
        if timestamp.release_sha256 != offer.release_sha256 {
            return Err(VerifyError::MixedReleases);
        }
        state.issued = verifier.latest_issued(&timestamp);
    }
    check_target(&release, context)?;
    if verifier.time().is_some_and(|now| now > release.expires) {
        return Err(VerifyError::Expired { version: release.version, expires: release.expires });
    }
    check_version(&release, context)?;
    if release.epoch > state.epoch {
        (state.epoch, state.version) = (release.epoch, None);
    }
    if context.options.downgrade {
        state.version = Some(release.version.clone());
    }
    Ok(VerifiedRelease { release, state, clock_is_wrong: verifier.clock_is_wrong() })
}

/// A verified timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTimestamp {
    /// Signed, for this machine's channel, and not expired.
    pub timestamp: Timestamp,
    /// To persist.
    pub state: TrustState,
    /// The clock is before the image's build time: expiry was not checked, so the timestamp may be outdated.
    pub clock_is_wrong: bool,
}

/// Verifies the timestamp of the machine's channel, without an offer: proof that the server does not hide newer
/// releases.
pub fn verify_timestamp(
    bytes: &[u8],
    signature: &str,
    authorities: &TrustAnchors,
    context: &VerifyContext<'_>,
) -> Result<VerifiedTimestamp, VerifyError> {
    let verifier = Verifier::new(authorities, context);
    let timestamp = verifier.timestamp(bytes, signature)?;
    let state = TrustState { issued: verifier.latest_issued(&timestamp), ..verifier.context.state.clone() };
    Ok(VerifiedTimestamp { timestamp, state, clock_is_wrong: verifier.clock_is_wrong() })
}

fn check_target(release: &Release, context: &VerifyContext<'_>) -> Result<(), VerifyError> {
    if !omaha::same_app(&release.appid, context.appid) {
        return Err(VerifyError::WrongProduct(release.appid.clone()));
    }
    if release.board != context.board {
        return Err(VerifyError::WrongBoard(release.board.clone()));
    }
    if !release.channels.iter().any(|channel| channel == context.channel) {
        let (version, channel) = (release.version.clone(), context.channel.to_owned());
        return Err(VerifyError::NotForChannel { version, channel });
    }
    Ok(())
}

fn check_version(release: &Release, context: &VerifyContext<'_>) -> Result<(), VerifyError> {
    let version = &release.version;
    if release.epoch < context.state.epoch {
        return Err(VerifyError::OldEpoch { offered: release.epoch, recorded: context.state.epoch });
    }
    if !context.options.downgrade {
        // A version of another epoch does not count: a stolen key may have signed any number.
        let of_epoch = context.state.version.iter().filter(|_| context.state.epoch == release.epoch);
        for than in of_epoch.chain(context.running) {
            if version < than {
                return Err(VerifyError::Downgrade { offered: version.clone(), than: than.clone() });
            }
        }
    }
    if let (Some(from), Some(running)) = (&release.min_from, context.running)
        && running < from
    {
        let (version, from) = (version.clone(), from.clone());
        return Err(VerifyError::BelowMinFrom { version, from, running: running.clone() });
    }
    let root_hash = release.images.verity.root_hash;
    if let Some(ban) =
        context.bans.iter().find(|ban| ban.root_hash == root_hash).filter(|_| !context.options.retry)
    {
        let (version, reason) = (version.clone(), ban.reason.clone());
        return Err(VerifyError::Banned { version, reason });
    }
    Ok(())
}

#[cfg(test)]
pub mod tests;
