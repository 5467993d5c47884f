//! The current release of a channel, for provisioning new machines. No rollout policy applies.

use std::path::{Path, PathBuf};

use rollout::{Package, Track, UpdateState};
use semver::Version;

use crate::release_id::{RELEASES, ReleaseId};
use crate::repository::FOLDER;
use crate::store::{Store, StoreError};

/// Why a channel has no release for a new machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRelease {
    #[error("application {0} does not exist")]
    App(String),
    #[error("channel {channel} does not exist; the channels are {known}")]
    Channel { channel: String, known: String },
    #[error("channel {0} has no version")]
    Empty(String),
    #[error("channel {channel} has {version}, which is banned: {why}")]
    Banned { channel: String, version: Version, why: String },
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseFolderError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRelease(#[from] NoRelease),
    #[error("invalid channel name {channel}")]
    Name {
        channel: String,
        #[source]
        why: rollout::ParseTrackError,
    },
    #[error("the files of version {version} are on another server, at {at}")]
    Elsewhere { version: Version, at: String },
}

/// The application's key, and the package of the channel that group `track` follows.
pub fn current<'a>(
    state: &'a UpdateState,
    app: &str,
    track: &Track,
) -> Result<(&'a str, &'a Package), NoRelease> {
    let (key, found) = state.app(app).ok_or_else(|| NoRelease::App(app.to_owned()))?;
    let channel = found.groups.get(track).and_then(|state| found.channels.get(&state.group.channel));
    let channel = channel.ok_or_else(|| {
        let known: Vec<String> = found.groups.keys().map(ToString::to_string).collect();
        NoRelease::Channel { channel: track.to_string(), known: known.join(", ") }
    })?;
    let package = channel.package.as_ref().and_then(|version| found.package(version, track.arch()));
    let package = package.ok_or_else(|| NoRelease::Empty(track.to_string()))?;
    match &package.banned {
        Some(why) => {
            let (version, why) = (package.version.clone(), why.clone());
            Err(NoRelease::Banned { channel: track.to_string(), version, why })
        }
        None => Ok((key, package)),
    }
}

/// The folder of the metadata of `app`, roots and targets, within the server's folder `data`.
///
/// # Errors
/// The database cannot be read or is damaged, or has no such application.
pub fn metadata_folder(data: &Path, app: &str) -> Result<PathBuf, ReleaseFolderError> {
    let state = Store::read(data)?;
    let (key, _) = state.app(app).ok_or_else(|| NoRelease::App(app.to_owned()))?;
    Ok(data.join(FOLDER).join(key))
}

/// The folder of the release that `channel` of `app` points to, or of `version`, within the server's folder `data`. A
/// server may be running on it.
///
/// # Errors
/// The database cannot be read or is damaged, or the folder does not contain the release.
pub fn release_folder(
    data: &Path,
    app: &str,
    channel: &str,
    version: Option<&Version>,
) -> Result<PathBuf, ReleaseFolderError> {
    let state = Store::read(data)?;
    let track: Track =
        channel.parse().map_err(|why| ReleaseFolderError::Name { channel: channel.to_owned(), why })?;
    let (key, package) = match version {
        None => current(&state, app, &track)?,
        Some(version) => {
            let (key, found) = state.app(app).ok_or_else(|| NoRelease::App(app.to_owned()))?;
            let package = found.package(version, track.arch());
            (key, package.ok_or_else(|| NoRelease::Empty(format!("{channel} as {version}")))?)
        }
    };
    let version = package.version.clone();
    if let Some(at) = package.files_at.clone() {
        return Err(ReleaseFolderError::Elsewhere { version, at });
    }
    let release_id = ReleaseId { app: key.to_owned(), arch: track.arch().to_owned(), version };
    Ok(release_id.below(&data.join(RELEASES)))
}
