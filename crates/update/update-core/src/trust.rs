//! Acceptance of a release by a machine: product, board, channel, expiry and rollback protection (contract 5).

mod facts;

use release::Release;
use tuf::TargetFile;

use crate::repository::ChannelTarget;

pub use facts::{Anchor, Ban, RootInForce, TrustState, UpdateOptions, VerifyContext, VerifyError};

/// A verified release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRelease {
    /// Listed by signed targets metadata, and acceptable for this machine.
    pub release: Release,
    /// Persist it before the installation.
    pub state: TrustState,
}

/// Verifies the `release.json` in `bytes`, which signed targets metadata lists as `listed`. Parses nothing before its
/// digest is verified. `channel`: what the machine's channel has; `None` for a release from a file. Persist nothing of a
/// release that fails.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify_release(
    bytes: &[u8],
    listed: &TargetFile,
    channel: Option<&ChannelTarget>,
    context: &VerifyContext<'_>,
) -> Result<VerifiedRelease, VerifyError> {
    let mut state = state_under(context)?;
    listed.verify(bytes)?;
    let release = Release::parse(bytes)?;
    if let Some(channel) = channel.filter(|channel| !channel.offers(&release.version)) {
        let (offered, current) = (release.version, channel.version.clone());
        return Err(VerifyError::NotOffered { offered, channel: context.channel.to_owned(), current });
    }
    check_target(&release, context)?;
    if context.clock.time().is_some_and(|now| now > release.expires) {
        return Err(VerifyError::Expired { version: release.version, expires: release.expires });
    }
    check_version(&release, &state, context)?;
    if release.epoch > state.epoch {
        (state.epoch, state.version) = (release.epoch, None);
    }
    if context.options.downgrade {
        state.version = Some(release.version.clone());
    }
    Ok(VerifiedRelease { release, state })
}

/// The state that is valid under the root in force.
fn state_under(context: &VerifyContext<'_>) -> Result<TrustState, VerifyError> {
    let (recorded, known) = (context.state.root, context.root.version);
    if context.state.anchor == context.root.anchor && known < recorded {
        return Err(VerifyError::RootLost { recorded, known });
    }
    Ok(context.state.valid_under(context.root))
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

fn check_version(
    release: &Release,
    state: &TrustState,
    context: &VerifyContext<'_>,
) -> Result<(), VerifyError> {
    let version = &release.version;
    if release.epoch < state.epoch {
        return Err(VerifyError::OldEpoch { offered: release.epoch, recorded: state.epoch });
    }
    if !context.options.downgrade {
        // A version of another epoch does not count: a stolen key may have signed any number.
        let of_epoch = state.version.iter().filter(|_| state.epoch == release.epoch);
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
