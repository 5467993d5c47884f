//! Operators' commands. Each one is applied completely or rejected, and recorded in the activity log.
//!
//! Long because it is a list: one short function per command.

use std::sync::Arc;

use semver::Version;

use crate::activity::{Kind, Severity};
use crate::application::{App, Application};
use crate::counts::Counts;
use crate::group::{Channel, Group, GroupState, PausedBy, Resumed, Rollout};
use crate::limits::{APPS, FLOORS, FURTHER_FILES, ITEMS_PER_APP, NAME, TEXT};
use crate::machine::Status;
use crate::package::{Images, Package, is_older};
use crate::policy::{Policy, PolicyError, Zones};
use crate::record::RecordKey;
use crate::state::{NewEntry, UpdateState, canonical_id};
use crate::timeline::Timeline;
use crate::track::{Track, is_identifier};

/// Why a command of an operator was rejected. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum OperateError {
    #[error("application {0:?} does not exist")]
    AppNotFound(String),
    #[error("channel {0} does not exist")]
    ChannelNotFound(Track),
    #[error("group {0} does not exist")]
    GroupNotFound(Track),
    #[error("machine {0:?} does not exist")]
    MachineNotFound(String),
    #[error("version {0} for {1} does not exist")]
    PackageNotFound(Version, String),
    #[error("channel {0} has no version")]
    EmptyChannel(Track),
    #[error("version {0} is already published with other files: published versions are immutable")]
    ContentsDiffer(Version),
    #[error("version {version} is not signed for channel {channel}, only for {}", .allowed.join(", "))]
    NotForChannel { version: Version, channel: Track, allowed: Vec<String> },
    #[error("version {0} is banned: {1}")]
    Banned(Version, String),
    #[error("version {0} is in use by channel {1}")]
    InUse(Version, Track),
    #[error("channel {0} is in use by group {1}")]
    ChannelInUse(Track, Track),
    #[error("a floor must be below the channel's version, and {0} is not")]
    FloorNotBelow(Version),
    #[error("group {group} and channel {channel} are for different architectures")]
    ArchitectureMismatch { group: Track, channel: Track },
    #[error("too many {what}: the maximum is {limit}")]
    LimitExceeded { what: &'static str, limit: usize },
    #[error("invalid {what} {text:?}: at most {limit} characters, without control characters")]
    InvalidText { what: &'static str, text: String, limit: usize },
    #[error("invalid policy of {0}")]
    InvalidPolicy(Track, #[source] PolicyError),
}

type OperateResult = Result<(), OperateError>;

impl UpdateState {
    fn app_mut(&mut self, id: &str) -> Result<(String, &mut Application), OperateError> {
        let key = self
            .app(id)
            .map(|(key, _)| key.to_owned())
            .ok_or_else(|| OperateError::AppNotFound(id.into()))?;
        match self.apps.get_mut(&key) {
            Some(app) => Ok((key, app)),
            None => Err(OperateError::AppNotFound(id.into())),
        }
    }

    /// Adds or renames an application.
    ///
    /// # Errors
    /// An id or name is invalid, or there are too many applications.
    pub fn put_app(&mut self, app: App) -> OperateResult {
        let key = canonical_id(&app.id);
        // Used in paths.
        if !is_identifier(&key) {
            return Err(OperateError::InvalidText { what: "id", text: key, limit: NAME });
        }
        for (what, text) in [("id", &key), ("name", &app.name)] {
            if text.is_empty() || text.len() > TEXT || text.contains(char::is_control) {
                return Err(OperateError::InvalidText { what, text: text.clone(), limit: TEXT });
            }
        }
        if let Some(text) = app.product_id.as_ref().filter(|name| !is_identifier(name)) {
            return Err(OperateError::InvalidText { what: "product_id", text: text.clone(), limit: NAME });
        }
        let is_full = self.apps.len() >= APPS;
        match self.apps.get_mut(&key) {
            Some(known) => known.app = app,
            None if is_full => {
                return Err(OperateError::LimitExceeded { what: "applications", limit: APPS });
            }
            None => drop(self.apps.insert(key.clone(), Application::new(app))),
        }
        self.mark_changed(RecordKey::App(key), true);
        Ok(())
    }

    /// Creates a channel, and a group of that name that follows it, unless they exist.
    ///
    /// # Errors
    /// The application does not exist, or it has too many channels or groups.
    pub fn ensure_channel(&mut self, app: &str, track: &Track, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        let is_full = |count: usize, exists: bool| count >= ITEMS_PER_APP && !exists;
        let (channels, groups) = (&app.channels, &app.groups);
        if is_full(channels.len(), channels.contains_key(track))
            || is_full(groups.len(), groups.contains_key(track))
        {
            return Err(OperateError::LimitExceeded { what: "channels or groups", limit: ITEMS_PER_APP });
        }
        let mut records = Vec::new();
        if !app.channels.contains_key(track) {
            let floors = std::collections::BTreeSet::new();
            let earlier = std::collections::BTreeSet::new();
            let channel = Channel { track: track.clone(), package: None, changed: now, floors, earlier };
            app.channels.insert(track.clone(), channel);
            records.push(RecordKey::Channel(key.clone(), track.clone()));
        }
        if !app.groups.contains_key(track) {
            app.put_group(new_group(app, track, track), Timeline::default());
            records.push(RecordKey::Group(key, track.clone()));
        }
        records.into_iter().for_each(|record| self.mark_changed(record, true));
        Ok(())
    }

    /// # Errors
    /// The version exists with other files, or there are too many files or versions.
    pub fn add_package(&mut self, app: &str, package: Package) -> OperateResult {
        if package.further.len() > FURTHER_FILES {
            return Err(OperateError::LimitExceeded { what: "files", limit: FURTHER_FILES });
        }
        let (key, app) = self.app_mut(app)?;
        let package_key = (package.version.clone(), package.arch.clone());
        let is_full = app.packages.len() >= ITEMS_PER_APP;
        match app.packages.get_mut(&package_key) {
            Some(known) => {
                let same = known.payload.has_content_of(&package.payload)
                    && known.further == package.further
                    && known.release_sha256 == package.release_sha256;
                if !same {
                    return Err(OperateError::ContentsDiffer(package.version));
                }
                known.files_at = package.files_at;
                if known.payload.sha1.is_empty() {
                    known.payload.sha1 = package.payload.sha1;
                }
            }
            None if is_full => {
                return Err(OperateError::LimitExceeded { what: "versions", limit: ITEMS_PER_APP });
            }
            None => drop(app.packages.insert(package_key.clone(), package)),
        }
        self.mark_changed(RecordKey::Package(key, package_key.0, package_key.1), true);
        Ok(())
    }

    /// # Errors
    /// The version does not exist, or a channel points to it.
    pub fn remove_package(&mut self, app: &str, version: &Version, arch: &str) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        let refers_to = |channel: &&Channel| {
            let is_referred = channel.package.as_ref() == Some(version) || channel.floors.contains(version);
            is_referred && channel.track.arch() == arch
        };
        if let Some(channel) = app.channels.values().find(refers_to) {
            return Err(OperateError::InUse(version.clone(), channel.track.clone()));
        }
        let package_key = (version.clone(), arch.to_owned());
        app.packages
            .remove(&package_key)
            .ok_or_else(|| OperateError::PackageNotFound(version.clone(), arch.to_owned()))?;
        let mut records = Vec::new();
        for channel in app.channels.values_mut().filter(|channel| channel.track.arch() == arch) {
            if channel.earlier.remove(version) {
                records.push(RecordKey::Channel(key.clone(), channel.track.clone()));
            }
        }
        records.push(RecordKey::Package(key, package_key.0, package_key.1));
        records.into_iter().for_each(|record| self.mark_changed(record, true));
        Ok(())
    }

    /// Adds the images of a version. Where their files are may change.
    ///
    /// # Errors
    /// The version does not exist or has other images, or there are too many files.
    pub fn set_images(&mut self, app: &str, version: &Version, arch: &str, images: Images) -> OperateResult {
        if images.files.len() > FURTHER_FILES {
            return Err(OperateError::LimitExceeded { what: "files", limit: FURTHER_FILES });
        }
        let (key, app) = self.app_mut(app)?;
        let package_key = (version.clone(), arch.to_owned());
        let package = app.packages.get_mut(&package_key);
        let package =
            package.ok_or_else(|| OperateError::PackageNotFound(version.clone(), arch.to_owned()))?;
        if package.images.as_ref().is_some_and(|known| known.list != images.list) {
            return Err(OperateError::ContentsDiffer(version.clone()));
        }
        package.images = Some(images);
        self.mark_changed(RecordKey::Package(key, package_key.0, package_key.1), true);
        Ok(())
    }

    /// Points a channel to a version, newer or older, or to none.
    ///
    /// # Errors
    /// The channel or version does not exist, or the version is banned or not allowed in the channel.
    pub fn point_channel(
        &mut self,
        app: &str,
        track: &Track,
        to: Option<&Version>,
        now: u64,
    ) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        if let Some(version) = to {
            check_allowed(app, track, version)?;
        }
        let channel =
            app.channels.get_mut(track).ok_or_else(|| OperateError::ChannelNotFound(track.clone()))?;
        if channel.package.as_ref() == to {
            return Ok(());
        }
        let before = std::mem::replace(&mut channel.package, to.cloned());
        channel.earlier.extend(before.clone());
        channel.changed = now;
        let mut records = vec![RecordKey::Channel(key.clone(), track.clone())];
        for state in app.groups.values_mut().filter(|state| state.group.channel == *track) {
            state.group.rollout = to.map(|version| Rollout::new(version.clone(), now, &state.counts));
            records.push(RecordKey::Group(key.clone(), state.group.track.clone()));
        }
        records.into_iter().for_each(|record| self.mark_changed(record, true));
        let format_version =
            |version: Option<&Version>| version.map_or("no version".to_owned(), Version::to_string);
        let is_downgrade = matches!((&before, to), (Some(before), Some(to)) if is_older(to, before));
        let note = if is_downgrade { "; machines with a newer version keep it" } else { "" };
        let text =
            format!("channel {track}: {} -> {}{note}", format_version(before.as_ref()), format_version(to));
        let entry = NewEntry::new(Severity::Info, Kind::ChannelPackageChanged, text);
        let version = to.map(Version::to_string);
        self.log_activity(&key, now, NewEntry { channel: Some(track.clone()), version, ..entry });
        Ok(())
    }

    /// Points a channel to the version of another channel.
    ///
    /// # Errors
    /// As [`UpdateState::point_channel`], or the other channel is empty.
    pub fn promote(
        &mut self,
        app: &str,
        from: &Track,
        to: &Track,
        now: u64,
    ) -> Result<Version, OperateError> {
        let (_, found) = self.app_mut(app)?;
        let channel = found.channels.get(from).ok_or_else(|| OperateError::ChannelNotFound(from.clone()))?;
        let version = channel.package.clone().ok_or_else(|| OperateError::EmptyChannel(from.clone()))?;
        self.point_channel(app, to, Some(&version), now)?;
        Ok(version)
    }

    /// # Errors
    /// As [`UpdateState::point_channel`], or the version is not below the channel's, or there are too many floors.
    pub fn add_floor(&mut self, app: &str, track: &Track, version: &Version, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        check_allowed(app, track, version)?;
        let channel =
            app.channels.get_mut(track).ok_or_else(|| OperateError::ChannelNotFound(track.clone()))?;
        if channel.package.as_ref().is_some_and(|newest| !is_older(version, newest)) {
            return Err(OperateError::FloorNotBelow(version.clone()));
        }
        if channel.floors.len() >= FLOORS {
            return Err(OperateError::LimitExceeded { what: "floors", limit: FLOORS });
        }
        channel.floors.insert(version.clone());
        self.mark_changed(RecordKey::Channel(key.clone(), track.clone()), true);
        self.log_operation(&key, Some(track), format!("{version} is now a floor of channel {track}"), now);
        Ok(())
    }

    /// # Errors
    /// The channel does not exist.
    pub fn remove_floor(&mut self, app: &str, track: &Track, version: &Version, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        let channel =
            app.channels.get_mut(track).ok_or_else(|| OperateError::ChannelNotFound(track.clone()))?;
        if channel.floors.remove(version) {
            self.mark_changed(RecordKey::Channel(key.clone(), track.clone()), true);
            self.log_operation(
                &key,
                Some(track),
                format!("{version} is not a floor of channel {track} any more"),
                now,
            );
        }
        Ok(())
    }

    fn group_mut(&mut self, app: &str, group: &Track) -> Result<(String, &mut GroupState), OperateError> {
        let (key, app) = self.app_mut(app)?;
        let state = app.groups.get_mut(group).ok_or_else(|| OperateError::GroupNotFound(group.clone()))?;
        Ok((key, state))
    }

    /// # Errors
    /// The group does not exist, or the text is too long.
    pub fn pause(&mut self, app: &str, group: &Track, why: &str, now: u64) -> OperateResult {
        if why.len() > TEXT || why.contains(char::is_control) {
            return Err(OperateError::InvalidText { what: "reason", text: why.to_owned(), limit: TEXT });
        }
        let (key, _) = self.group_mut(app, group)?;
        let why = if why.is_empty() { "by an operator" } else { why };
        self.pause_by(&key, group, PausedBy::Operator, why.to_owned(), now);
        Ok(())
    }

    /// Earlier failures do not pause the group again.
    ///
    /// # Errors
    /// The group does not exist.
    pub fn resume(&mut self, app: &str, group: &Track, now: u64) -> OperateResult {
        let (key, state) = self.group_mut(app, group)?;
        if state.group.paused.take().is_none() {
            return Ok(());
        }
        if let Some(rollout) = &mut state.group.rollout {
            rollout.failed = 0;
            rollout.timed_out = 0;
            rollout.resumed = Some(Resumed { at: now, attempted: 0 });
        }
        self.mark_changed(RecordKey::Group(key.clone(), group.clone()), true);
        self.log_operation(&key, Some(group), format!("group {group} is resumed"), now);
        Ok(())
    }

    /// # Errors
    /// The group does not exist, or the policy is invalid.
    pub fn set_policy(
        &mut self,
        app: &str,
        group: &Track,
        policy: Policy,
        now: u64,
        zones: Zones<'_>,
    ) -> OperateResult {
        policy.check(zones).map_err(|error| OperateError::InvalidPolicy(group.clone(), error))?;
        let (key, app) = self.app_mut(app)?;
        let state = app.groups.get_mut(group).ok_or_else(|| OperateError::GroupNotFound(group.clone()))?;
        if state.group.policy == policy {
            return Ok(());
        }
        let (changed, timeline) =
            (Group { policy, ..state.group.clone() }, std::mem::take(&mut state.timeline));
        // A longer period counts grants that the counts have dropped.
        app.put_group(changed, timeline);
        self.mark_changed(RecordKey::Group(key.clone(), group.clone()), true);
        self.log_operation(&key, Some(group), format!("the policy of group {group} was changed"), now);
        Ok(())
    }

    /// Creates a group, or lets it follow another channel.
    ///
    /// # Errors
    /// The channel does not exist, its architecture differs, or there are too many groups.
    pub fn put_group(&mut self, app: &str, group: &Track, channel: &Track, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        let found =
            app.channels.get(channel).ok_or_else(|| OperateError::ChannelNotFound(channel.clone()))?;
        if group.arch() != channel.arch() {
            return Err(OperateError::ArchitectureMismatch {
                group: group.clone(),
                channel: channel.clone(),
            });
        }
        let rollout =
            |counts: &Counts| found.package.clone().map(|version| Rollout::new(version, now, counts));
        let is_full = app.groups.len() >= ITEMS_PER_APP;
        match app.groups.get_mut(group) {
            Some(state) if state.group.channel == *channel => return Ok(()),
            Some(state) => {
                state.group.rollout = rollout(&state.counts);
                state.group.channel = channel.clone();
            }
            None if is_full => {
                return Err(OperateError::LimitExceeded { what: "groups", limit: ITEMS_PER_APP });
            }
            None => {
                let rollout = rollout(&Counts::default());
                app.put_group(Group { rollout, ..new_group(app, group, channel) }, Timeline::default());
            }
        }
        self.mark_changed(RecordKey::Group(key.clone(), group.clone()), true);
        self.log_operation(&key, Some(group), format!("group {group} follows channel {channel}"), now);
        Ok(())
    }

    /// # Errors
    /// The group does not exist.
    pub fn remove_group(&mut self, app: &str, group: &Track, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        app.groups.remove(group).ok_or_else(|| OperateError::GroupNotFound(group.clone()))?;
        self.mark_changed(RecordKey::Group(key.clone(), group.clone()), true);
        self.mark_changed(RecordKey::Timeline(key.clone(), group.clone()), true);
        self.log_operation(&key, Some(group), format!("group {group} was removed"), now);
        Ok(())
    }

    /// # Errors
    /// The channel does not exist, or a group follows it.
    pub fn remove_channel(&mut self, app: &str, channel: &Track, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        if let Some(state) = app.groups.values().find(|state| state.group.channel == *channel) {
            return Err(OperateError::ChannelInUse(channel.clone(), state.group.track.clone()));
        }
        app.channels.remove(channel).ok_or_else(|| OperateError::ChannelNotFound(channel.clone()))?;
        self.mark_changed(RecordKey::Channel(key.clone(), channel.clone()), true);
        self.log_operation(&key, None, format!("channel {channel} was removed"), now);
        Ok(())
    }

    /// Bans a version: no machine gets it. `None` lifts the ban.
    ///
    /// # Errors
    /// The version does not exist, or the text is too long.
    pub fn ban(
        &mut self,
        app: &str,
        version: &Version,
        arch: &str,
        why: Option<&str>,
        now: u64,
    ) -> OperateResult {
        if let Some(text) = why.filter(|why| why.len() > TEXT || why.contains(char::is_control)) {
            return Err(OperateError::InvalidText { what: "reason", text: text.to_owned(), limit: TEXT });
        }
        let (key, app) = self.app_mut(app)?;
        let package_key = (version.clone(), arch.to_owned());
        let package = app.packages.get_mut(&package_key);
        let package =
            package.ok_or_else(|| OperateError::PackageNotFound(version.clone(), arch.to_owned()))?;
        package.banned = why.map(str::to_owned);
        self.mark_changed(RecordKey::Package(key.clone(), package_key.0, package_key.1), true);
        let text = match why {
            Some(why) => format!("{version} is banned: {why}"),
            None => format!("{version} is not banned any more"),
        };
        self.log_operation(&key, None, text, now);
        Ok(())
    }

    /// Clears the machine's grant, failure and given-up versions.
    ///
    /// # Errors
    /// The machine does not exist.
    pub fn reset_machine(&mut self, app: &str, machine: &str, now: u64) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        let id: Arc<str> = machine.into();
        app.change(&id, |machine| {
            machine.grant = None;
            machine.failure = None;
            machine.given_up.clear();
            machine.set_status(Status::Undefined, None, now);
        })
        .ok_or_else(|| OperateError::MachineNotFound(machine.to_owned()))?;
        self.mark_changed(RecordKey::Machine(key.clone(), machine.to_owned()), true);
        self.log_operation(&key, None, format!("{machine} was reset"), now);
        Ok(())
    }

    /// # Errors
    /// The machine does not exist, or the name is invalid.
    pub fn name_machine(&mut self, app: &str, machine: &str, alias: Option<&str>) -> OperateResult {
        if let Some(text) = alias.filter(|alias| alias.len() > TEXT || alias.contains(char::is_control)) {
            return Err(OperateError::InvalidText { what: "alias", text: text.to_owned(), limit: TEXT });
        }
        let (key, app) = self.app_mut(app)?;
        app.change(&machine.into(), |machine| machine.alias = alias.map(str::to_owned))
            .ok_or_else(|| OperateError::MachineNotFound(machine.to_owned()))?;
        self.mark_changed(RecordKey::Machine(key, machine.to_owned()), true);
        Ok(())
    }

    /// # Errors
    /// The machine does not exist.
    pub fn forget_machine(&mut self, app: &str, machine: &str) -> OperateResult {
        let (key, app) = self.app_mut(app)?;
        app.remove_machine(machine).ok_or_else(|| OperateError::MachineNotFound(machine.to_owned()))?;
        self.mark_changed(RecordKey::Machine(key, machine.to_owned()), true);
        Ok(())
    }

    fn log_operation(&mut self, key: &str, group: Option<&Track>, text: String, now: u64) {
        let entry = NewEntry::new(Severity::Info, Kind::Operator, text);
        self.log_activity(key, now, NewEntry { group: group.cloned(), ..entry });
    }
}

/// Checks that `version` may be in the channel `track`.
fn check_allowed(app: &Application, track: &Track, version: &Version) -> OperateResult {
    let arch = track.arch();
    let package = app
        .package(version, arch)
        .ok_or_else(|| OperateError::PackageNotFound(version.clone(), arch.to_owned()))?;
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
    let rollout =
        found.and_then(|found| Some(Rollout::new(found.package.clone()?, found.changed, &Counts::default())));
    let (track, channel) = (track.clone(), channel.clone());
    Group { track, channel, policy: Policy::default(), paused: None, rollout }
}
