//! Verification of offers: signatures, freshness and rollback protection (contract 5).

use release::{
    Digest, KeySet, Keys, MetadataError, Release, Role, SignatureError, Timestamp, Version, files::RELEASE,
    files::TIMESTAMP,
};
use serde::{Deserialize, Serialize};

/// An unverified offer.
#[derive(Debug, Clone)]
pub struct Offer {
    pub release: Vec<u8>,
    pub release_signature: String,
    /// SHA-256 of `release`.
    pub release_sha256: Digest,
    /// The signed timestamp of the channel. `None` for a release from a file.
    pub timestamp: Option<(Vec<u8>, String)>,
}

/// The machine's side of the verification.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub appid: &'a str,
    pub board: &'a str,
    pub channel: &'a str,
    /// `None` when provisioning a new machine.
    pub running: Option<&'a Version>,
    /// Unix time in seconds, by the machine's clock.
    pub now: u64,
    /// Unix time in seconds, of the running image.
    pub build_time: u64,
    pub seen: Seen,
    pub bans: &'a [Ban],
    pub wish: Wish,
}

/// Options that an operator sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    pub downgrade: bool,
    /// Accept versions that failed on this machine.
    pub retry: bool,
}

/// Rollback protection: the lowest values to accept from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Epoch of the key set that the rest was accepted under; 0: none. The next set resets the rest, since a stolen
    /// key may have signed arbitrary numbers.
    #[serde(default, skip_serializing_if = "is_none")]
    pub keys: u64,
    pub epoch: u64,
    /// The highest version of `epoch` found good on this machine, or the one that an operator rolled back to.
    pub version: Option<Version>,
    /// The latest issue time of a timestamp, Unix time in seconds.
    pub issued: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(keys: &u64) -> bool {
    *keys == 0
}

impl Seen {
    /// Records a good version. A version that was only accepted does not count: its channel may go back to an older
    /// one.
    pub fn found_good(&mut self, version: &Version) {
        if self.version.as_ref().is_none_or(|highest| highest < version) {
            self.version = Some(version.clone());
        }
    }

    /// The state that is valid under key set `keys`.
    fn under(&self, keys: u64) -> Self {
        if self.keys < keys { Self { keys, ..Self::default() } } else { self.clone() }
    }
}

/// A version that failed on this machine, or that its operator rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    pub version: Version,
    pub root_hash: Digest,
    /// For operators.
    pub reason: String,
    /// Unix time in seconds.
    pub since: u64,
}

/// Why an offer is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{file}: {why}")]
    Signature { file: &'static str, why: SignatureError },
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("key set {epoch} counted until {expires} (seconds since 1970), and no newer one was seen")]
    KeysExpired { epoch: u64, expires: u64 },
    #[error("key set {seen} counted here, and of it nothing is left but its number: set {known} is older")]
    KeysLost { seen: u64, known: u64 },
    #[error("the release is of product {0}, this machine is another")]
    Product(String),
    #[error("the release is for board {0}")]
    Board(String),
    #[error("version {version} may not be in channel {channel}")]
    NotForChannel { version: Version, channel: String },
    #[error("the server's word is about channel {found}, this machine follows {wanted}")]
    OtherChannel { found: String, wanted: String },
    #[error("timestamp.json is of another release than the one that came with it")]
    Mixed,
    #[error("the server's word was issued at {issued}, an earlier one at {seen}: it is an old one")]
    Replayed { issued: u64, seen: u64 },
    #[error("the server's word counted until {0} (seconds since 1970): the channel shows an old state")]
    Stale(u64),
    #[error("version {version} was to be installed until {expires} (seconds since 1970)")]
    Expired { version: Version, expires: u64 },
    #[error("version {offered} is older than {than}")]
    Older { offered: Version, than: Version },
    #[error("the release is from epoch {offered} of the signing keys, {seen} was seen")]
    OldEpoch { offered: u64, seen: u64 },
    #[error("version {version} can be reached from {from} on; this is {running}")]
    TooFar { version: Version, from: Version, running: Version },
    #[error(
        "version {version} is not wanted on this machine: {reason}; `update-agent retry {version}` allows it"
    )]
    Banned { version: Version, reason: String },
}

/// A verified offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub release: Release,
    /// Persist it before the installation.
    pub seen: Seen,
    /// The clock is before the image's build time: expiry was not checked.
    pub clock_is_wrong: bool,
}

/// Trusted keys by role.
#[derive(Debug, Default)]
pub struct Signers {
    /// For releases.
    pub release: Keys,
    /// For channel timestamps.
    pub channel: Keys,
}

impl Signers {
    /// The keys of a key set.
    #[must_use]
    pub fn of(set: &KeySet) -> Self {
        Self { release: set.keys(Role::Release), channel: set.keys(Role::Channel) }
    }
}

/// All keys that a machine trusts.
#[derive(Debug, Default)]
pub struct Authorities {
    /// From the image, or from the key set.
    pub given: Signers,
    /// The key set, if any.
    pub set: Option<InForce>,
    /// The operator's keys, independent of the key set.
    pub local: Signers,
}

impl Authorities {
    /// Verifies a timestamp's signature. [`verify_offer`] checks its content.
    pub fn channel_word(&self, bytes: &[u8], signature: &str) -> Result<(), SignatureError> {
        signer(self, |signers| &signers.channel, bytes, signature).map(drop)
    }
}

/// The key set in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    pub epoch: u64,
    /// Unix time in seconds.
    pub expires: u64,
}

impl InForce {
    #[must_use]
    pub fn of(set: &KeySet) -> Self {
        Self { epoch: set.epoch, expires: set.expires }
    }
}

/// Verifies `offer`. Parses nothing before its signature is verified. Persist nothing of an offer that fails.
pub fn judge(offer: &Offer, authorities: &Authorities, facts: &Facts<'_>) -> Result<Accepted, Refusal> {
    let keys = authorities.set.map_or(0, |set| set.epoch);
    let facts = &Facts { seen: facts.seen.under(keys), ..facts.clone() };
    let clock_is_wrong = facts.now < facts.build_time;
    let now = facts.now.max(facts.build_time).max(facts.seen.issued);
    let signed = |file, kind: fn(&Signers) -> &Keys, bytes: &[u8], signature: &str| {
        let by = signer(authorities, kind, bytes, signature);
        match by.map_err(|why| Refusal::Signature { file, why })? {
            By::Local => Ok(()),
            By::Given => counts(authorities.set, facts.seen.keys, (!clock_is_wrong).then_some(now)),
        }
    };
    signed(RELEASE, |signers| &signers.release, &offer.release, &offer.release_signature)?;
    let release = Release::parse(&offer.release)?;
    let mut seen = facts.seen.clone();
    if let Some((bytes, signature)) = &offer.timestamp {
        signed(TIMESTAMP, |signers| &signers.channel, bytes, signature)?;
        let timestamp = Timestamp::parse(bytes)?;
        fresh(&timestamp, offer, facts, now, clock_is_wrong)?;
        seen.issued = seen.issued.max(timestamp.issued);
    }
    fits(&release, facts)?;
    if !clock_is_wrong && now > release.expires {
        return Err(Refusal::Expired { version: release.version, expires: release.expires });
    }
    forward(&release, facts)?;
    if release.epoch > seen.epoch {
        (seen.epoch, seen.version) = (release.epoch, None);
    }
    if facts.wish.downgrade {
        seen.version = Some(release.version.clone());
    }
    Ok(Accepted { release, seen, clock_is_wrong })
}

/// Where the key comes from.
enum By {
    Local,
    Given,
}

fn signer(
    authorities: &Authorities,
    kind: fn(&Signers) -> &Keys,
    bytes: &[u8],
    signature: &str,
) -> Result<By, SignatureError> {
    let [local, given] = [kind(&authorities.local), kind(&authorities.given)];
    match local.verify(bytes, signature) {
        Ok(_) => Ok(By::Local),
        Err(SignatureError::NotTrusted) if given.is_empty() => Err(SignatureError::NotTrusted),
        Err(_) => given.verify(bytes, signature).map(|_| By::Given),
    }
}

/// Checks that the key set is neither lost nor expired. `now`: `None` if unknown.
fn counts(set: Option<InForce>, seen: u64, now: Option<u64>) -> Result<(), Refusal> {
    let known = set.map_or(0, |set| set.epoch);
    if known < seen {
        return Err(Refusal::KeysLost { seen, known });
    }
    match (set, now) {
        (Some(InForce { epoch, expires }), Some(now)) if now > expires => {
            Err(Refusal::KeysExpired { epoch, expires })
        }
        _ => Ok(()),
    }
}

fn fresh(
    timestamp: &Timestamp,
    offer: &Offer,
    facts: &Facts<'_>,
    now: u64,
    clock_is_wrong: bool,
) -> Result<(), Refusal> {
    if timestamp.channel != facts.channel {
        let (found, wanted) = (timestamp.channel.clone(), facts.channel.to_owned());
        return Err(Refusal::OtherChannel { found, wanted });
    }
    if timestamp.release_sha256 != offer.release_sha256 {
        return Err(Refusal::Mixed);
    }
    if timestamp.issued < facts.seen.issued {
        return Err(Refusal::Replayed { issued: timestamp.issued, seen: facts.seen.issued });
    }
    if !clock_is_wrong && now > timestamp.expires {
        return Err(Refusal::Stale(timestamp.expires));
    }
    Ok(())
}

fn fits(release: &Release, facts: &Facts<'_>) -> Result<(), Refusal> {
    if !omaha::same_app(&release.appid, facts.appid) {
        return Err(Refusal::Product(release.appid.clone()));
    }
    if release.board != facts.board {
        return Err(Refusal::Board(release.board.clone()));
    }
    if !release.channels.iter().any(|channel| channel == facts.channel) {
        let (version, channel) = (release.version.clone(), facts.channel.to_owned());
        return Err(Refusal::NotForChannel { version, channel });
    }
    Ok(())
}

fn forward(release: &Release, facts: &Facts<'_>) -> Result<(), Refusal> {
    let version = &release.version;
    if release.epoch < facts.seen.epoch {
        return Err(Refusal::OldEpoch { offered: release.epoch, seen: facts.seen.epoch });
    }
    if !facts.wish.downgrade {
        // A version of another epoch does not count: a stolen key may have signed any number.
        let of_epoch = facts.seen.version.iter().filter(|_| facts.seen.epoch == release.epoch);
        for than in of_epoch.chain(facts.running) {
            if version < than {
                return Err(Refusal::Older { offered: version.clone(), than: than.clone() });
            }
        }
    }
    if let (Some(from), Some(running)) = (&release.min_from, facts.running)
        && running < from
    {
        let (version, from) = (version.clone(), from.clone());
        return Err(Refusal::TooFar { version, from, running: running.clone() });
    }
    let root_hash = release.images.verity.root_hash;
    if let Some(ban) = facts.bans.iter().find(|ban| ban.root_hash == root_hash).filter(|_| !facts.wish.retry)
    {
        let (version, reason) = (version.clone(), ban.reason.clone());
        return Err(Refusal::Banned { version, reason });
    }
    Ok(())
}

#[cfg(test)]
pub mod tests;
