//! What operators do. Each is refused whole or done whole, and stands in the activity.
//!
//! Long because it is a list: one short function for each thing that an operator can do.

use std::sync::Arc;

use semver::Version;

use crate::activity::{Kind, Severity};
use crate::application::{App, Application};
use crate::fleet::{Fleet, News, bare};
use crate::group::{Channel, Group, GroupState, PausedBy, Resumed, Rollout};
use crate::limits::{APPS, FLOORS, FURTHER_FILES, NAME, NAMED, TEXT};
use crate::machine::Status;
use crate::package::{Package, is_older};
use crate::policy::{Policy, PolicyError, Zones};
use crate::record::Record;
use crate::timeline::Timeline;
use crate::track::{Track, is_word};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    #[error("there is no application {0:?}")]
    NoApp(String),
    #[error("there is no channel {0}")]
    NoChannel(Track),
    #[error("there is no group {0}")]
    NoGroup(Track),
    #[error("there is no machine {0:?}")]
    NoMachine(String),
    #[error("there is no version {0} for {1}")]
    NoPackage(Version, String),
    #[error("channel {0} has no version")]
    Empty(Track),
    #[error("version {0} is there already, and its files are others: what was published never changes")]
    Different(Version),
    #[error("version {version} is not signed for channel {channel}: it may be in {}", .allowed.join(", "))]
    NotForChannel { version: Version, channel: Track, allowed: Vec<String> },
    #[error("version {0} is banned: {1}")]
    Banned(Version, String),
    #[error("version {0} is in channel {1}")]
    InUse(Version, Track),
    #[error("group {1} takes its versions from channel {0}")]
    ChannelInUse(Track, Track),
    #[error("a floor below the channel's version is wanted, and {0} is not")]
    NoFloor(Version),
    #[error("group {group} and channel {channel} are for two architectures")]
    Architectures { group: Track, channel: Track },
    #[error("{what}: {limit} are the most")]
    Many { what: &'static str, limit: usize },
    #[error("{what} {text:?} cannot be: it wants up to {limit} characters, none of them control characters")]
    Text { what: &'static str, text: String, limit: usize },
    #[error("the policy of {0} cannot be")]
    Policy(Track, #[source] PolicyError),
}

type Done = Result<(), OperateError>;

impl Fleet {
    fn found(&mut self, id: &str) -> Result<(String, &mut Application), OperateError> {
        let key =
            self.app(id).map(|(key, _)| key.to_owned()).ok_or_else(|| OperateError::NoApp(id.into()))?;
        match self.apps.get_mut(&key) {
            Some(app) => Ok((key, app)),
            None => Err(OperateError::NoApp(id.into())),
        }
    }

    /// New, or with another name.
    ///
    /// # Errors
    /// The id or a name cannot be, or there are too many.
    pub fn put_app(&mut self, app: App) -> Done {
        let key = bare(&app.id);
        // It stands in paths.
        if !is_word(&key) {
            return Err(OperateError::Text { what: "id", text: key, limit: NAME });
        }
        for (what, text) in [("id", &key), ("name", &app.name)] {
            if text.is_empty() || text.len() > TEXT || text.contains(char::is_control) {
                return Err(OperateError::Text { what, text: text.clone(), limit: TEXT });
            }
        }
        if let Some(text) = app.product_id.as_ref().filter(|name| !is_word(name)) {
            return Err(OperateError::Text { what: "product_id", text: text.clone(), limit: NAME });
        }
        let is_full = self.apps.len() >= APPS;
        match self.apps.get_mut(&key) {
            Some(known) => known.app = app,
            None if is_full => {
                return Err(OperateError::Many { what: "applications", limit: APPS });
            }
            None => drop(self.apps.insert(key.clone(), Application::new(app))),
        }
        self.changed(Record::App(key), true);
        Ok(())
    }

    /// A channel, and a group of that name which takes from it, unless they are there.
    ///
    /// # Errors
    /// There is no such application, or there are too many.
    pub fn ensure_channel(&mut self, app: &str, track: &Track, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        let is_full = |count: usize, is_there: bool| count >= NAMED && !is_there;
        let (channels, groups) = (&app.channels, &app.groups);
        if is_full(channels.len(), channels.contains_key(track))
            || is_full(groups.len(), groups.contains_key(track))
        {
            return Err(OperateError::Many { what: "channels or groups", limit: NAMED });
        }
        let mut records = Vec::new();
        if !app.channels.contains_key(track) {
            let floors = std::collections::BTreeSet::new();
            let channel = Channel { track: track.clone(), package: None, changed: now, floors };
            app.channels.insert(track.clone(), channel);
            records.push(Record::Channel(key.clone(), track.clone()));
        }
        if !app.groups.contains_key(track) {
            app.put_group(new_group(app, track, track), Timeline::default());
            records.push(Record::Group(key, track.clone()));
        }
        records.into_iter().for_each(|record| self.changed(record, true));
        Ok(())
    }

    /// # Errors
    /// The same version is there with other files, or something in it cannot be.
    pub fn add_package(&mut self, app: &str, package: Package) -> Done {
        if package.further.len() > FURTHER_FILES {
            return Err(OperateError::Many { what: "files", limit: FURTHER_FILES });
        }
        let (key, app) = self.found(app)?;
        let place = (package.version.clone(), package.arch.clone());
        let is_full = app.packages.len() >= NAMED;
        match app.packages.get_mut(&place) {
            Some(known) => {
                let same = known.payload == package.payload
                    && known.further == package.further
                    && known.release_sha256 == package.release_sha256;
                if !same {
                    return Err(OperateError::Different(package.version));
                }
                known.files_at = package.files_at;
            }
            None if is_full => {
                return Err(OperateError::Many { what: "versions", limit: NAMED });
            }
            None => drop(app.packages.insert(place.clone(), package)),
        }
        self.changed(Record::Package(key, place.0, place.1), true);
        Ok(())
    }

    /// # Errors
    /// There is none, or a channel has it.
    pub fn remove_package(&mut self, app: &str, version: &Version, arch: &str) -> Done {
        let (key, app) = self.found(app)?;
        let holds = |channel: &&Channel| {
            let here = channel.package.as_ref() == Some(version) || channel.floors.contains(version);
            here && channel.track.arch() == arch
        };
        if let Some(channel) = app.channels.values().find(holds) {
            return Err(OperateError::InUse(version.clone(), channel.track.clone()));
        }
        let place = (version.clone(), arch.to_owned());
        app.packages
            .remove(&place)
            .ok_or_else(|| OperateError::NoPackage(version.clone(), arch.to_owned()))?;
        self.changed(Record::Package(key, place.0, place.1), true);
        Ok(())
    }

    /// Lets a channel have a version: newer, older, or none.
    ///
    /// # Errors
    /// There is no such channel or version, or the version must not be in it.
    pub fn point(&mut self, app: &str, track: &Track, to: Option<&Version>, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        if let Some(version) = to {
            check_version(app, track, version)?;
        }
        let channel = app.channels.get_mut(track).ok_or_else(|| OperateError::NoChannel(track.clone()))?;
        if channel.package.as_ref() == to {
            return Ok(());
        }
        let before = std::mem::replace(&mut channel.package, to.cloned());
        channel.changed = now;
        let mut records = vec![Record::Channel(key.clone(), track.clone())];
        for state in app.groups.values_mut().filter(|state| state.group.channel == *track) {
            state.group.rollout = to.map(|version| Rollout::new(version.clone(), now));
            records.push(Record::Group(key.clone(), state.group.track.clone()));
        }
        records.into_iter().for_each(|record| self.changed(record, true));
        let shown = |version: Option<&Version>| version.map_or("nothing".to_owned(), Version::to_string);
        let older = matches!((&before, to), (Some(before), Some(to)) if is_older(to, before));
        let note = if older { "; machines that run a newer version stay on it" } else { "" };
        let text = format!("channel {track}: {} -> {}{note}", shown(before.as_ref()), shown(to));
        let news = News::new(Severity::Info, Kind::ChannelPackageChanged, text);
        let version = to.map(Version::to_string);
        self.tell(&key, now, News { channel: Some(track.clone()), version, ..news });
        Ok(())
    }

    /// Lets a channel have the version of another.
    ///
    /// # Errors
    /// As [`Fleet::point`], or the other channel has none.
    pub fn promote(
        &mut self,
        app: &str,
        from: &Track,
        to: &Track,
        now: u64,
    ) -> Result<Version, OperateError> {
        let (_, found) = self.found(app)?;
        let channel = found.channels.get(from).ok_or_else(|| OperateError::NoChannel(from.clone()))?;
        let version = channel.package.clone().ok_or_else(|| OperateError::Empty(from.clone()))?;
        self.point(app, to, Some(&version), now)?;
        Ok(version)
    }

    /// # Errors
    /// There is no such channel or version, the version must not be in it, or it is no floor.
    pub fn add_floor(&mut self, app: &str, track: &Track, version: &Version, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        check_version(app, track, version)?;
        let channel = app.channels.get_mut(track).ok_or_else(|| OperateError::NoChannel(track.clone()))?;
        if channel.package.as_ref().is_some_and(|newest| !is_older(version, newest)) {
            return Err(OperateError::NoFloor(version.clone()));
        }
        if channel.floors.len() >= FLOORS {
            return Err(OperateError::Many { what: "floors", limit: FLOORS });
        }
        channel.floors.insert(version.clone());
        self.changed(Record::Channel(key.clone(), track.clone()), true);
        self.operated(&key, Some(track), format!("{version} is a floor of channel {track}"), now);
        Ok(())
    }

    /// # Errors
    /// There is no such channel.
    pub fn remove_floor(&mut self, app: &str, track: &Track, version: &Version, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        let channel = app.channels.get_mut(track).ok_or_else(|| OperateError::NoChannel(track.clone()))?;
        if channel.floors.remove(version) {
            self.changed(Record::Channel(key.clone(), track.clone()), true);
            self.operated(
                &key,
                Some(track),
                format!("{version} is no floor of channel {track} any more"),
                now,
            );
        }
        Ok(())
    }

    fn state(&mut self, app: &str, group: &Track) -> Result<(String, &mut GroupState), OperateError> {
        let (key, app) = self.found(app)?;
        let state = app.groups.get_mut(group).ok_or_else(|| OperateError::NoGroup(group.clone()))?;
        Ok((key, state))
    }

    /// # Errors
    /// There is no such group, or the text is too long.
    pub fn pause(&mut self, app: &str, group: &Track, why: &str, now: u64) -> Done {
        if why.len() > TEXT || why.contains(char::is_control) {
            return Err(OperateError::Text { what: "reason", text: why.to_owned(), limit: TEXT });
        }
        let (key, _) = self.state(app, group)?;
        let why = if why.is_empty() { "by an operator" } else { why };
        self.pause_by(&key, group, PausedBy::Operator, why.to_owned(), now);
        Ok(())
    }

    /// Failures until now do not pause it again.
    ///
    /// # Errors
    /// There is no such group.
    pub fn resume(&mut self, app: &str, group: &Track, now: u64) -> Done {
        let (key, state) = self.state(app, group)?;
        if state.group.paused.take().is_none() {
            return Ok(());
        }
        if let Some(rollout) = &mut state.group.rollout {
            rollout.failed = 0;
            rollout.timed_out = 0;
            rollout.resumed = Some(Resumed { at: now, attempted: 0 });
        }
        self.changed(Record::Group(key.clone(), group.clone()), true);
        self.operated(&key, Some(group), format!("group {group} goes on"), now);
        Ok(())
    }

    /// # Errors
    /// There is no such group, or the policy cannot be.
    pub fn set_policy(
        &mut self,
        app: &str,
        group: &Track,
        policy: Policy,
        now: u64,
        zones: Zones<'_>,
    ) -> Done {
        policy.check(zones).map_err(|error| OperateError::Policy(group.clone(), error))?;
        let (key, app) = self.found(app)?;
        let state = app.groups.get_mut(group).ok_or_else(|| OperateError::NoGroup(group.clone()))?;
        if state.group.policy == policy {
            return Ok(());
        }
        let (changed, timeline) =
            (Group { policy, ..state.group.clone() }, std::mem::take(&mut state.timeline));
        // A longer period counts grants that were forgotten.
        app.put_group(changed, timeline);
        self.changed(Record::Group(key.clone(), group.clone()), true);
        self.operated(&key, Some(group), format!("group {group} has another policy"), now);
        Ok(())
    }

    /// A new group, or one that takes from another channel.
    ///
    /// # Errors
    /// There is no such channel, or too many groups.
    pub fn put_group(&mut self, app: &str, group: &Track, channel: &Track, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        let found = app.channels.get(channel).ok_or_else(|| OperateError::NoChannel(channel.clone()))?;
        if group.arch() != channel.arch() {
            return Err(OperateError::Architectures { group: group.clone(), channel: channel.clone() });
        }
        let rollout = found.package.clone().map(|version| Rollout::new(version, now));
        let is_full = app.groups.len() >= NAMED;
        match app.groups.get_mut(group) {
            Some(state) if state.group.channel == *channel => return Ok(()),
            Some(state) => {
                state.group.channel = channel.clone();
                state.group.rollout = rollout;
            }
            None if is_full => {
                return Err(OperateError::Many { what: "groups", limit: NAMED });
            }
            None => app.put_group(Group { rollout, ..new_group(app, group, channel) }, Timeline::default()),
        }
        self.changed(Record::Group(key.clone(), group.clone()), true);
        self.operated(&key, Some(group), format!("group {group} takes from channel {channel}"), now);
        Ok(())
    }

    /// # Errors
    /// There is no such group.
    pub fn remove_group(&mut self, app: &str, group: &Track, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        app.groups.remove(group).ok_or_else(|| OperateError::NoGroup(group.clone()))?;
        self.changed(Record::Group(key.clone(), group.clone()), true);
        self.changed(Record::Timeline(key.clone(), group.clone()), true);
        self.operated(&key, Some(group), format!("group {group} was removed"), now);
        Ok(())
    }

    /// # Errors
    /// There is no such channel, or a group takes from it.
    pub fn remove_channel(&mut self, app: &str, channel: &Track, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        if let Some(state) = app.groups.values().find(|state| state.group.channel == *channel) {
            return Err(OperateError::ChannelInUse(channel.clone(), state.group.track.clone()));
        }
        app.channels.remove(channel).ok_or_else(|| OperateError::NoChannel(channel.clone()))?;
        self.changed(Record::Channel(key.clone(), channel.clone()), true);
        self.operated(&key, None, format!("channel {channel} was removed"), now);
        Ok(())
    }

    /// Nobody gets the version any more; `None` takes that back.
    ///
    /// # Errors
    /// There is no such version, or the text is too long.
    pub fn ban(&mut self, app: &str, version: &Version, arch: &str, why: Option<&str>, now: u64) -> Done {
        if let Some(text) = why.filter(|why| why.len() > TEXT || why.contains(char::is_control)) {
            return Err(OperateError::Text { what: "reason", text: text.to_owned(), limit: TEXT });
        }
        let (key, app) = self.found(app)?;
        let place = (version.clone(), arch.to_owned());
        let package = app.packages.get_mut(&place);
        let package = package.ok_or_else(|| OperateError::NoPackage(version.clone(), arch.to_owned()))?;
        package.banned = why.map(str::to_owned);
        self.changed(Record::Package(key.clone(), place.0, place.1), true);
        let text = match why {
            Some(why) => format!("{version} is banned: {why}"),
            None => format!("{version} is banned no more"),
        };
        self.operated(&key, None, text, now);
        Ok(())
    }

    /// What the machine is on its way to, failed with and gave up is forgotten.
    ///
    /// # Errors
    /// There is no such machine.
    pub fn reset_machine(&mut self, app: &str, machine: &str, now: u64) -> Done {
        let (key, app) = self.found(app)?;
        let id: Arc<str> = machine.into();
        app.change(&id, |machine| {
            machine.grant = None;
            machine.failure = None;
            machine.given_up.clear();
            machine.turn(Status::Undefined, None, now);
        })
        .ok_or_else(|| OperateError::NoMachine(machine.to_owned()))?;
        self.changed(Record::Machine(key.clone(), machine.to_owned()), true);
        self.operated(&key, None, format!("{machine} was reset"), now);
        Ok(())
    }

    /// # Errors
    /// There is no such machine, or the name cannot be.
    pub fn name_machine(&mut self, app: &str, machine: &str, alias: Option<&str>) -> Done {
        if let Some(text) = alias.filter(|alias| alias.len() > TEXT || alias.contains(char::is_control)) {
            return Err(OperateError::Text { what: "alias", text: text.to_owned(), limit: TEXT });
        }
        let (key, app) = self.found(app)?;
        app.change(&machine.into(), |machine| machine.alias = alias.map(str::to_owned))
            .ok_or_else(|| OperateError::NoMachine(machine.to_owned()))?;
        self.changed(Record::Machine(key, machine.to_owned()), true);
        Ok(())
    }

    /// # Errors
    /// There is no such machine.
    pub fn forget_machine(&mut self, app: &str, machine: &str) -> Done {
        let (key, app) = self.found(app)?;
        app.remove_machine(machine).ok_or_else(|| OperateError::NoMachine(machine.to_owned()))?;
        self.changed(Record::Machine(key, machine.to_owned()), true);
        Ok(())
    }

    fn operated(&mut self, key: &str, group: Option<&Track>, text: String, now: u64) {
        let news = News::new(Severity::Info, Kind::Operator, text);
        self.tell(key, now, News { group: group.cloned(), ..news });
    }
}

/// Whether `version` may be in the channel `track`.
fn check_version(app: &Application, track: &Track, version: &Version) -> Done {
    let arch = track.arch();
    let package = app
        .package(version, arch)
        .ok_or_else(|| OperateError::NoPackage(version.clone(), arch.to_owned()))?;
    if let Some(why) = &package.banned {
        return Err(OperateError::Banned(version.clone(), why.clone()));
    }
    if !package.may_be_in(track.name()) {
        let (version, channel) = (version.clone(), track.clone());
        return Err(OperateError::NotForChannel { version, channel, allowed: package.channels.clone() });
    }
    Ok(())
}

fn new_group(app: &Application, track: &Track, channel: &Track) -> Group {
    let found = app.channels.get(channel);
    let rollout = found.and_then(|found| Some(Rollout::new(found.package.clone()?, found.changed)));
    let (track, channel) = (track.clone(), channel.clone());
    Group { track, channel, policy: Policy::default(), paused: None, rollout }
}
