//! A product's repository of The Update Framework: who signs what.
//!
//! | file | keys | contents |
//! |---|---|---|
//! | `N.root.json` | root | [the keys](crate::roots) |
//! | `N.targets.json` | release | `releases/BOARD/VERSION/release.json` of each version, `images.json` of those with images; delegates `channels/*/*` to the channel keys |
//! | `N.channels.json` | channel | `channels/NAME/BOARD`: the release that a channel has |
//! | `N.snapshot.json`, `timestamp.json` | channel | the current versions of these files |
//!
//! A release folder has `targets.json`, the newest targets metadata when it was signed, and no snapshot: whoever
//! installs it vouches for its freshness.

use std::num::NonZeroU64;

use release::{ImageList, Release, Version};
use serde::{Deserialize, Serialize};
use tuf::{Date, Paths, Root, TargetFile, Targets};

use crate::roots::{self, Role};

/// The role that the channel keys have besides timestamp and snapshot.
pub const CHANNELS: &str = "channels";
/// Targets metadata in a release folder, and in a folder of keys.
pub const TARGETS_FILE: &str = "targets.json";
/// Maximum size of targets metadata in bytes.
pub const MAX_TARGETS: usize = 5 << 20;

/// What a channel has, in the custom data of its target. The target itself is the `release.json` of `version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTarget {
    /// The channel's current version.
    pub version: Version,
    /// Versions that older machines pass on the way, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<Version>,
}

/// A channel to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// As machines name it: a group of the channel server.
    pub name: String,
    /// Such as `amd64-usr`.
    pub board: String,
    /// What it has.
    pub target: ChannelTarget,
}

/// Why targets metadata is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RepositoryError {
    #[error(
        "targets.json lists another release of version {version} for {board}: published versions are immutable"
    )]
    OtherRelease { version: Version, board: String },
    #[error(
        "targets.json lists other images of version {version} for {board}: published versions are immutable"
    )]
    OtherImages { version: Version, board: String },
    #[error(
        "targets.json lists no images of version {version} for {board}: no release key signed this images.json \
         (keelson publish --images does)"
    )]
    NoImages { version: Version, board: String },
    #[error("targets.json does not list version {version} for {board}")]
    NotListed { version: Version, board: String },
    #[error("the custom data of target {target} is invalid: {why}")]
    Custom { target: String, why: String },
    #[error("no version can follow the highest one")]
    End,
}

impl ChannelTarget {
    /// Reads the custom data of a channel's target.
    ///
    /// # Errors
    /// It is not what [`channel_targets`] writes.
    pub fn of(target: &str, file: &TargetFile) -> Result<Self, RepositoryError> {
        let custom = serde_json::to_value(&file.custom).and_then(serde_json::from_value);
        custom.map_err(|error| RepositoryError::Custom { target: target.to_owned(), why: error.to_string() })
    }

    /// Whether the channel's machines may install a version.
    #[must_use]
    pub fn offers(&self, version: &Version) -> bool {
        self.version == *version || self.floors.contains(version)
    }
}

/// The target path of a release's `release.json`.
#[must_use]
pub fn release_target(board: &str, version: &Version) -> String {
    format!("releases/{board}/{version}/{}", release::files::RELEASE)
}

/// The target path of the list of a release's image files, if it has any.
#[must_use]
pub fn images_target(board: &str, version: &Version) -> String {
    format!("releases/{board}/{version}/{}", release::files::IMAGES)
}

/// The target path of a channel.
#[must_use]
pub fn channel_target(channel: &str, board: &str) -> String {
    format!("{CHANNELS}/{channel}/{board}")
}

/// The targets metadata that follows `previous`, or the first one, under `root`: with its channel keys, and valid as long
/// as it. Unsigned.
///
/// # Errors
/// `previous` has the highest version.
pub fn next_targets(root: &Root, previous: Option<&Targets>) -> Result<Targets, RepositoryError> {
    let mut targets = Targets::new(root.header.expires);
    if let Some(previous) = previous {
        targets.header.version = previous.header.version.checked_add(1).ok_or(RepositoryError::End)?;
        targets.targets.clone_from(&previous.targets);
    }
    let keys = roots::named_keys(root, Role::Channel);
    let keys: Vec<_> = keys.iter().map(|named| &named.key).collect();
    let paths = Paths::Patterns(vec![channel_target("*", "*")]);
    targets.delegate(CHANNELS, &keys, NonZeroU64::MIN, true, paths);
    Ok(targets)
}

/// Lists a release, whose `release.json` has these bytes. Idempotent.
///
/// # Errors
/// Another release of this version is listed.
pub fn add_release(targets: &mut Targets, release: &Release, bytes: &[u8]) -> Result<(), RepositoryError> {
    let new = TargetFile::of(bytes);
    let path = release_target(&release.board, &release.version);
    if targets.targets.get(&path).is_some_and(|listed| *listed != new) {
        let (version, board) = (release.version.clone(), release.board.clone());
        return Err(RepositoryError::OtherRelease { version, board });
    }
    targets.targets.insert(path, new);
    Ok(())
}

/// Lists the image files of a release, whose `images.json` has these bytes. Idempotent.
///
/// # Errors
/// Other images of this version are listed, or the release is not.
pub fn add_images(targets: &mut Targets, images: &ImageList, bytes: &[u8]) -> Result<(), RepositoryError> {
    let (board, version) = (&images.board, &images.version);
    if !targets.targets.contains_key(&release_target(board, version)) {
        return Err(RepositoryError::NotListed { version: version.clone(), board: board.clone() });
    }
    let (path, new) = (images_target(board, version), TargetFile::of(bytes));
    if targets.targets.get(&path).is_some_and(|listed| *listed != new) {
        return Err(RepositoryError::OtherImages { version: version.clone(), board: board.clone() });
    }
    targets.targets.insert(path, new);
    Ok(())
}

/// The metadata of role [`CHANNELS`]: what each channel has, of the releases in `targets`. Unsigned.
///
/// # Errors
/// A channel has a version that `targets` does not list.
pub fn channel_targets(
    targets: &Targets,
    channels: &[Channel],
    version: NonZeroU64,
    expires: Date,
) -> Result<Targets, RepositoryError> {
    let mut role = Targets::new(expires);
    role.header.version = version;
    for Channel { name, board, target } in channels {
        let listed = targets.targets.get(&release_target(board, &target.version));
        let listed = listed.ok_or_else(|| {
            let (version, board) = (target.version.clone(), board.clone());
            RepositoryError::NotListed { version, board }
        })?;
        let path = channel_target(name, board);
        let custom = serde_json::to_value(target).and_then(serde_json::from_value);
        let custom = custom
            .map_err(|error| RepositoryError::Custom { target: path.clone(), why: error.to_string() })?;
        role.targets.insert(path, TargetFile { custom: Some(custom), ..listed.clone() });
    }
    Ok(role)
}

#[cfg(test)]
mod tests;
