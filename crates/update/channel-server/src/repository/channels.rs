//! The channels of an application, as machines name them: its groups.

use rollout::{Application, Channel, Package, Track};
use tuf::Targets;
use update_core::repository::{self, ChannelTarget};

use super::targets::{ListedError, check_package};

/// What a group's machines may install: the channel's version, and the floors on the way, without banned ones.
struct Offered<'a> {
    package: &'a Package,
    floors: Vec<&'a Package>,
}

impl<'a> Offered<'a> {
    /// `None` if the channel has no version, or a banned one.
    fn by(app: &'a Application, channel: &Channel) -> Option<Self> {
        let package = |version| {
            let package = app.package(version, channel.track.arch())?;
            let is_excluded = package.banned.is_some() || package.blacklist.contains(channel.track.name());
            (!is_excluded && package.release_sha256.is_some()).then_some(package)
        };
        let floors = channel.floors.iter().filter_map(package).collect();
        Some(Self { package: package(channel.package.as_ref()?)?, floors })
    }

    fn check(&self, targets: &Targets) -> Result<(), ListedError> {
        let mut all = std::iter::once(&self.package).chain(&self.floors);
        all.try_for_each(|package| check_package(targets, package))
    }
}

/// Every group whose versions `targets` list, to be signed.
pub fn channels(app: &Application, targets: &Targets) -> Vec<repository::Channel> {
    let channel = |(track, state): (&Track, &rollout::GroupState)| {
        let offered = Offered::by(app, app.channels.get(&state.group.channel)?)?;
        offered.check(targets).ok()?;
        let floors = offered.floors.iter().map(|floor| floor.version.clone()).collect();
        Some(repository::Channel {
            name: track.name().to_owned(),
            board: offered.package.board.clone(),
            target: ChannelTarget { version: offered.package.version.clone(), floors },
        })
    };
    app.groups.iter().filter_map(channel).collect()
}

/// Why no version of a channel can be offered, although it has one.
pub fn unlisted(app: &Application, channel: &Channel, targets: &Targets) -> Option<ListedError> {
    Offered::by(app, channel)?.check(targets).err()
}
