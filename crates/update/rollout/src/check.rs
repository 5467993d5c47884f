//! A machine calls: it is noted, its events are taken, and it is told whether there is something for it.

use std::sync::Arc;

use omaha::architecture;
use semver::Version;

use crate::activity::{Kind, Severity};
use crate::application::Application;
use crate::fleet::{Fleet, News, bare};
use crate::group::GroupState;
use crate::limits::{MACHINES, TEXT};
use crate::machine::{Grant, Machine, Status};
use crate::package::{Package, is_older};
use crate::policy::Zones;
use crate::reason::Reason;
use crate::record::Record;
use crate::share::is_among;
use crate::track::Track;

/// One `app` of a request.
#[derive(Debug, Clone, Copy)]
pub struct Contact<'a> {
    pub app: &'a omaha::App,
    pub os_arch: Option<&'a str>,
    pub ip: &'a str,
    /// An operator of the machine requested the check.
    pub is_on_demand: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    NoAppId,
    UnknownApp,
    UnknownGroup,
    /// What the machine says to run is no version.
    InvalidVersion,
    /// It has no id, says too much of itself, or there are too many.
    NotRegistered,
    /// `None`: it did not ask.
    Known(Option<Verdict>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The group is what the machine follows, whatever channel it takes from.
    Update {
        version: Version,
        arch: String,
        group: Track,
    },
    Nothing(Reason),
}

impl Fleet {
    /// `now` in seconds since 1970.
    pub fn contact(&mut self, contact: Contact<'_>, now: u64, zones: Zones<'_>) -> Answer {
        let said = contact.app;
        let id = bare(&said.app_id);
        if id.is_empty() {
            return Answer::NoAppId;
        }
        let Some(app) = self.apps.get_mut(&id) else { return Answer::UnknownApp };
        let arch = architecture(&said.board, contact.os_arch);
        let Ok(track) = Track::new(&said.track, arch) else { return Answer::UnknownGroup };
        if !app.groups.contains_key(&track) {
            return Answer::UnknownGroup;
        }
        let Ok(version) = said.version.parse::<Version>() else { return Answer::InvalidVersion };
        let Some(machine) = register(app, contact, &track, now) else { return Answer::NotRegistered };
        self.changed(Record::Machine(id.clone(), machine.to_string()), false);
        self.expire(&id, &track, now);
        self.count(&id, &track, now, zones);
        for event in &said.events {
            self.event(&id, &track, &machine, event, now);
        }
        self.note_boot(&id, &machine, &said.boot_id, now);
        if !said.update_check {
            return Answer::Known(None);
        }
        // The machine may take them again (`update-agent retry`); otherwise it declines.
        if contact.is_on_demand {
            let app = self.apps.get_mut(&id);
            app.and_then(|app| app.change(&machine, |machine| machine.given_up.clear()));
        }
        Answer::Known(Some(self.check(&id, &track, &machine, &version, now, zones)))
    }

    fn check(
        &mut self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        version: &Version,
        now: u64,
        zones: Zones<'_>,
    ) -> Verdict {
        let Some(decided) = self.decide(id, track, machine, version, now, zones) else {
            return Verdict::Nothing(Reason::NoPackage);
        };
        match decided {
            Decided::Nothing(reason) => {
                if matches!(reason, Reason::UpToDate | Reason::Newer) {
                    self.complete(id, track, machine, version, now);
                }
                self.refuse(id, track, machine, reason, now);
                Verdict::Nothing(reason)
            }
            Decided::Again(version) => {
                Verdict::Update { version, arch: track.arch().to_owned(), group: track.clone() }
            }
            Decided::Grant(version) => {
                self.grant(id, track, machine, &version, now);
                Verdict::Update { version, arch: track.arch().to_owned(), group: track.clone() }
            }
        }
    }

    /// Changes nothing. `None`: the group is gone.
    fn decide(
        &self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        version: &Version,
        now: u64,
        zones: Zones<'_>,
    ) -> Option<Decided> {
        let app = self.apps.get(id)?;
        let state = app.groups.get(track)?;
        let known = app.machines.get(machine)?;
        let channel = app.channels.get(&state.group.channel);
        let name = &state.group.channel;
        let Some((channel, newest)) = channel.and_then(|channel| Some((channel, channel.package.as_ref()?)))
        else {
            return Some(Decided::Nothing(Reason::NoPackage));
        };
        if !is_older(version, newest) {
            let equal = version.cmp_precedence(newest).is_eq();
            return Some(Decided::Nothing(if equal { Reason::UpToDate } else { Reason::Newer }));
        }
        // The lowest floor above comes first.
        let on_the_way = |floor: &&Version| is_older(version, floor) && is_older(floor, newest);
        let target = channel.floors.iter().find(on_the_way).unwrap_or(newest);
        let Some(package) = app.package(target, track.arch()) else {
            return Some(Decided::Nothing(Reason::NoPackage));
        };
        let decided = match barred(package, name, known, version) {
            Some(reason) => Decided::Nothing(reason),
            None => by_policy(state, known, machine, target, now, zones),
        };
        Some(decided)
    }

    fn grant(&mut self, id: &str, track: &Track, machine: &Arc<str>, version: &Version, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(state) = app.groups.get_mut(track) else { return };
        let before = app.machines.get(machine).and_then(|machine| machine.last_grant.clone());
        let grant = Grant { version: version.clone(), at: now, renewed: now, before };
        let mut started = None;
        if let Some(rollout) = &mut state.group.rollout {
            rollout.count_attempt(&grant);
            if rollout.started.is_none() {
                rollout.started = Some(now);
                started = Some(rollout.version.to_string());
            }
        }
        app.change(machine, |machine| {
            machine.grant = Some(grant);
            machine.last_grant = Some((version.clone(), now));
            machine.refusal = None;
            machine.turn(Status::Granted, None, now);
        });
        self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
        self.changed(Record::Group(id.to_owned(), track.clone()), true);
        if let Some(version) = started {
            let text = format!("group {track} begins to take {version}");
            let news = News::new(Severity::Info, Kind::RolloutStarted, text);
            self.tell(id, now, News { group: Some(track.clone()), version: Some(version), ..news });
        }
    }

    fn refuse(&mut self, id: &str, track: &Track, machine: &Arc<str>, reason: Reason, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let was = app.change(machine, |machine| {
            let holds = matches!(reason, Reason::MaxPerPeriod | Reason::MaxInProgress | Reason::SafeMode);
            // Who has installed an earlier version is still to boot it.
            if holds && machine.status != Status::Installed {
                machine.grant = None;
                machine.turn(Status::OnHold, None, now);
            }
            machine.refusal.replace(reason)
        });
        // Told once to each machine that finds it so.
        if reason == Reason::NoPackage && was != Some(Some(reason)) {
            let text = format!("a machine of group {track} asked, and its channel has nothing");
            let news = News::new(Severity::Warning, Kind::PackageNotFound, text);
            let machine = Some(machine.to_string());
            self.tell(id, now, News { group: Some(track.clone()), machine, ..news });
        }
    }
}

enum Decided {
    Nothing(Reason),
    /// What it was granted and may still take.
    Again(Version),
    Grant(Version),
}

/// What does not hang on the policy.
fn barred(package: &Package, channel: &Track, machine: &Machine, version: &Version) -> Option<Reason> {
    if package.banned.is_some() {
        return Some(Reason::Banned);
    }
    if package.blacklist.contains(channel.name()) || !package.may_be_in(channel.name()) {
        return Some(Reason::Blacklisted);
    }
    if machine.given_up.contains(&package.version) {
        return Some(Reason::GivenUp);
    }
    package.min_from.as_ref().filter(|oldest| is_older(version, oldest)).map(|_| Reason::TooOld)
}

/// In the original's order. A machine that has a grant keeps its place: it asks again because its attempt ended, and
/// its time runs on.
fn by_policy(
    state: &GroupState,
    machine: &Machine,
    id: &Arc<str>,
    target: &Version,
    now: u64,
    zones: Zones<'_>,
) -> Decided {
    let (group, counts) = (&state.group, &state.counts);
    if group.paused.is_some() {
        return Decided::Nothing(Reason::Paused);
    }
    let grant = machine.grant.as_ref().filter(|grant| grant.version == *target);
    if grant.is_some() {
        return match machine.status {
            Status::Installed => Decided::Nothing(Reason::UpdateInProgress),
            _ => Decided::Again(target.clone()),
        };
    }
    // The grant expired before the reboot. The machine ignores the offer, or has reset its update and needs it again; neither
    // counts as in progress.
    let pending = |machine: &Machine| machine.is_reboot_pending();
    if pending(machine) && machine.last_grant.as_ref().is_some_and(|(version, _)| version == target) {
        return Decided::Again(target.clone());
    }
    if !group.policy.is_open(now, zones) {
        return Decided::Nothing(Reason::Window);
    }
    let age = group.rollout.as_ref().map_or(0, |rollout| rollout.age(now));
    // By the rollout's version: with that of each floor on the way, only a share of a share would get through.
    let rolled_out = group.rollout.as_ref().map_or(target, |rollout| &rollout.version);
    if !is_among(id, &rolled_out.to_string(), group.policy.share(age)) {
        return Decided::Nothing(Reason::Share);
    }
    // Its own earlier grant is no other machine's place.
    let own_recent = machine.last_grant.as_ref().map(|(_, at)| (*at, id.clone()));
    let recent =
        counts.recent.len() - usize::from(own_recent.is_some_and(|own| counts.recent.contains(&own)));
    let own_busy = machine.grant.as_ref().map(|grant| (grant.renewed, id.clone()));
    let busy = counts.busy.len() - usize::from(own_busy.is_some_and(|own| counts.busy.contains(&own)));
    let nobody_has_it = group.rollout.as_ref().is_none_or(|rollout| rollout.succeeded == 0);
    let waiting = counts.installed.len() - usize::from(pending(machine));
    if group.policy.safe_mode && nobody_has_it && busy + waiting >= 1 {
        return Decided::Nothing(Reason::SafeMode);
    }
    if group.policy.per_period().is_some_and(|most| recent >= most) {
        return Decided::Nothing(Reason::MaxPerPeriod);
    }
    if group.policy.in_progress().is_some_and(|most| busy >= most) {
        return Decided::Nothing(Reason::MaxInProgress);
    }
    Decided::Grant(target.clone())
}

/// Notes who called. `None`: it cannot be one of the machines.
fn register(app: &mut Application, contact: Contact<'_>, track: &Track, now: u64) -> Option<Arc<str>> {
    let said = contact.app;
    // Those without a disk have no id that stays.
    let id = [&said.machine_id, &said.boot_id].into_iter().find(|id| !id.is_empty())?;
    let texts = [
        id.as_str(),
        &said.version,
        &said.boot_id,
        &said.oem,
        &said.oem_version,
        &said.aleph_version,
        said.machine_alias.as_deref().unwrap_or_default(),
    ];
    if texts.iter().any(|text| text.len() > TEXT || text.contains(char::is_control)) {
        return None;
    }
    let id: Arc<str> = id.as_str().into();
    if !app.machines.contains_key(&id) {
        if app.machines.len() >= MACHINES {
            return None;
        }
        app.put_machine(Machine::new(&id, track.clone(), now));
    }
    app.change(&id, |machine| {
        if machine.track != *track {
            // What another group gave it is no concern of this one.
            machine.track = track.clone();
            machine.grant = None;
            machine.last_grant = None;
            machine.last_success = None;
            if machine.status.step().is_some() {
                machine.turn(Status::Undefined, None, now);
            }
        }
        machine.last_seen = now;
        if said.update_check {
            machine.last_check = now;
        }
        for (kept, said) in [
            (&mut machine.version, &said.version),
            (&mut machine.oem, &said.oem),
            (&mut machine.oem_version, &said.oem_version),
            (&mut machine.aleph_version, &said.aleph_version),
        ] {
            keep(kept, said);
        }
        keep(&mut machine.ip, contact.ip);
        if let Some(alias) = &said.machine_alias {
            machine.alias = Some(alias.clone());
        }
    });
    Some(id)
}

/// The same text again costs nothing.
pub(crate) fn keep(kept: &mut String, said: &str) {
    if kept != said {
        kept.clear();
        kept.push_str(said);
    }
}
