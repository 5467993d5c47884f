//! The images that a channel serves: of the versions that it has or had, unless they are withdrawn.

use hyper::StatusCode;
use rollout::{Application, Channel, Image, Package, Track, UpdateState};
use semver::Version;

use crate::body::{HttpResponse, text};
use crate::repository::lists_images;
use crate::server::Server;

/// The channel's version, in place of a version.
pub const CURRENT: &str = "current";

/// A channel of a board.
pub struct ChannelImages<'a> {
    /// The application's.
    pub key: &'a str,
    pub app: &'a Application,
    pub channel: &'a Channel,
    pub board: &'a str,
}

/// Why a channel has no such version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoImages {
    #[error("channel {0} does not exist for board {1}")]
    Channel(String, String),
    #[error("channel {0} has no version")]
    Empty(String),
    #[error("channel {channel} has and had no version {version} for this board")]
    Version { channel: String, version: String },
    // The reason is for operators.
    #[error("version {0} is withdrawn")]
    Withdrawn(Version),
    #[error("version {version} has no images for channel {channel}")]
    None { channel: String, version: Version },
    #[error("version {version} has no such file for channel {channel}; it has {}", .files.join(", "))]
    File { channel: String, version: Version, files: Vec<String> },
}

impl<'a> ChannelImages<'a> {
    pub fn find(state: &'a UpdateState, app: &str, channel: &str, board: &'a str) -> Result<Self, NoImages> {
        let missing = || NoImages::Channel(channel.to_owned(), board.to_owned());
        let track = Track::new(channel, omaha::architecture(board, None)).map_err(|_| missing())?;
        let (key, app) = state.app(app).ok_or_else(missing)?;
        let channel = app.channels.get(&track).ok_or_else(missing)?;
        Ok(Self { key, app, channel, board })
    }

    pub fn name(&self) -> String {
        self.channel.track.name().to_owned()
    }

    /// Its versions that are not withdrawn, newest first.
    pub fn versions(&self) -> impl Iterator<Item = &'a Package> {
        let (board, channel) = (self.board, self.channel);
        let packages = self.app.packages.values().rev();
        packages.filter(move |package| {
            package.board == board
                && package.arch == channel.track.arch()
                && channel.has_had(&package.version)
                && !package.is_withdrawn_from(channel.track.name())
        })
    }

    /// A version, or the current one.
    pub fn version(&self, name: &str) -> Result<&'a Package, NoImages> {
        let current = match name {
            CURRENT => Some(self.channel.package.clone().ok_or_else(|| NoImages::Empty(self.name()))?),
            other => other.parse().ok(),
        };
        let package = current.filter(|version| self.channel.has_had(version)).and_then(|version| {
            let package = self.app.package(&version, self.channel.track.arch());
            package.filter(|package| package.board == self.board)
        });
        let missing = || NoImages::Version { channel: self.name(), version: name.chars().take(80).collect() };
        let package = package.ok_or_else(missing)?;
        match package.is_withdrawn_from(self.channel.track.name()) {
            true => Err(NoImages::Withdrawn(package.version.clone())),
            false => Ok(package),
        }
    }

    /// The channel's images of a version that `targets` list.
    pub fn images(&self, server: &Server, package: &'a Package) -> Vec<&'a Image> {
        let is_listed = server
            .repositories
            .targets(self.key)
            .is_some_and(|stored| lists_images(&stored.targets, package));
        let all = package.images.iter().filter(|_| is_listed).flat_map(|images| &images.files);
        all.filter(|image| image.channel == self.channel.track.name()).collect()
    }
}

pub fn not_found(why: impl std::fmt::Display) -> HttpResponse {
    text(StatusCode::NOT_FOUND, format!("{why}\n"))
}
