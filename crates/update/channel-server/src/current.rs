//! What a channel has, for who makes new machines: that is no update, takes part in no rollout and waits for nobody.

use std::path::{Path, PathBuf};

use rollout::{Fleet, Package, Track};
use semver::Version;

use crate::place::{Place, RELEASES};
use crate::store::{Store, StoreError};

/// Why a channel has nothing for a new machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    #[error("there is no application {0}")]
    App(String),
    #[error("there is no channel {channel}: there are {known}")]
    Channel { channel: String, known: String },
    #[error("nothing is published in channel {0}")]
    Empty(String),
    #[error("channel {channel} has {version}, which is banned: {why}")]
    Banned { channel: String, version: Version, why: String },
}

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Nothing(#[from] Nothing),
    #[error("{channel} is no name of a channel")]
    Name {
        channel: String,
        #[source]
        why: rollout::NoTrack,
    },
    #[error("the files of version {version} lie elsewhere, at {at}")]
    Elsewhere { version: Version, at: String },
}

/// The application's key, and what `track` has.
pub fn current<'a>(fleet: &'a Fleet, app: &str, track: &Track) -> Result<(&'a str, &'a Package), Nothing> {
    let (key, found) = fleet.app(app).ok_or_else(|| Nothing::App(app.to_owned()))?;
    let channel = found.groups.get(track).and_then(|state| found.channels.get(&state.group.channel));
    let channel = channel.ok_or_else(|| {
        let known: Vec<String> = found.groups.keys().map(ToString::to_string).collect();
        Nothing::Channel { channel: track.to_string(), known: known.join(", ") }
    })?;
    let package = channel.package.as_ref().and_then(|version| found.package(version, track.arch()));
    let package = package.ok_or_else(|| Nothing::Empty(track.to_string()))?;
    match &package.banned {
        Some(why) => {
            let (version, why) = (package.version.clone(), why.clone());
            Err(Nothing::Banned { channel: track.to_string(), version, why })
        }
        None => Ok((key, package)),
    }
}

/// The folder of the release that `channel` of `app` has, or of that `version`, by what a server keeps in `data`.
/// The server may be running.
///
/// # Errors
/// The database cannot be read or is damaged, or there is no such release in the folder.
pub fn look(data: &Path, app: &str, channel: &str, version: Option<&Version>) -> Result<PathBuf, LookError> {
    let fleet = Store::look(data)?.fleet;
    let track: Track = channel.parse().map_err(|why| LookError::Name { channel: channel.to_owned(), why })?;
    let (key, package) = match version {
        None => current(&fleet, app, &track)?,
        Some(version) => {
            let (key, found) = fleet.app(app).ok_or_else(|| Nothing::App(app.to_owned()))?;
            let package = found.package(version, track.arch());
            (key, package.ok_or_else(|| Nothing::Empty(format!("{channel} as {version}")))?)
        }
    };
    let version = package.version.clone();
    if let Some(at) = package.files_at.clone() {
        return Err(LookError::Elsewhere { version, at });
    }
    let place = Place { app: key.to_owned(), arch: track.arch().to_owned(), version };
    Ok(place.below(&data.join(RELEASES)))
}
