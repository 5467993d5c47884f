//! Verification of offers: signatures, freshness and rollback protection (contract 5).

mod facts;
mod verifier;

use release::{Digest, Release, Timestamp, files::RELEASE};

pub use facts::{
    ActiveRoot, Ban, RoleKeys, TrustAnchors, TrustState, UpdateOptions, VerifyContext, VerifyError,
};
use verifier::Verifier;

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
