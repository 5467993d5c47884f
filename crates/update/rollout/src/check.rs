//! Update checks: registers the machine, applies its events and decides whether it gets an update.

use std::net::IpAddr;
use std::sync::Arc;

use omaha::architecture;
use semver::Version;

use crate::activity::{Kind, Severity};
use crate::application::Application;
use crate::group::GroupState;
use crate::limits::{NEWCOMER, TEXT};
use crate::machine::{Grant, Machine, Status};
use crate::package::{Package, is_older};
use crate::policy::Zones;
use crate::reason::Reason;
use crate::record::RecordKey;
use crate::share::is_in_share;
use crate::state::{NewEntry, UpdateState, canonical_id};
use crate::track::Track;

/// One `app` element of an Omaha request.
#[derive(Debug, Clone, Copy)]
pub struct AppRequest<'a> {
    /// As parsed.
    pub app: &'a omaha::App,
    /// `arch` of the request's `os`, which CoreOS does not send.
    pub os_arch: Option<&'a str>,
    /// The client's address, as recorded.
    pub ip: IpAddr,
    /// The check was requested on the machine, not scheduled.
    pub is_on_demand: bool,
    /// The client proved the registration token.
    pub is_registered: bool,
}

/// What the response to an `app` states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppOutcome {
    /// The id is empty.
    NoAppId,
    /// No application has the id.
    UnknownApp,
    /// The application has no group of the machine's track.
    UnknownGroup,
    /// The version that the machine reports is not a semantic version.
    InvalidVersion,
    /// The machine has no id, a field is too long, the application has too many machines, or the id is that of a
    /// registered machine and the client did not prove the token.
    NotRegistered,
    /// `None`: the request had no update check.
    Known(Option<CheckResult>),
}

/// The response to an update check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// `group` is the machine's group, not the channel that the group follows.
    Update {
        /// The version to install.
        version: Version,
        /// Of the package.
        arch: String,
        /// The group that granted the update.
        group: Track,
    },
    /// Why the machine gets no update now.
    NoUpdate(Reason),
}

impl UpdateState {
    /// `now` is Unix time in seconds.
    pub fn handle(&mut self, request: AppRequest<'_>, now: u64, zones: Zones<'_>) -> AppOutcome {
        let reported = request.app;
        let id = canonical_id(&reported.app_id);
        if id.is_empty() {
            return AppOutcome::NoAppId;
        }
        let Some(app) = self.apps.get_mut(&id) else { return AppOutcome::UnknownApp };
        let arch = architecture(&reported.board, request.os_arch);
        let Ok(track) = Track::new(&reported.track, arch) else { return AppOutcome::UnknownGroup };
        if !app.groups.contains_key(&track) {
            return AppOutcome::UnknownGroup;
        }
        let Ok(version) = reported.version.parse::<Version>() else { return AppOutcome::InvalidVersion };
        let Some((machine, removed)) = register(app, request, &track, now) else {
            return AppOutcome::NotRegistered;
        };
        if let Some(removed) = removed {
            self.mark_changed(RecordKey::Machine(id.clone(), removed.to_string()), false);
        }
        self.mark_changed(RecordKey::Machine(id.clone(), machine.to_string()), false);
        self.expire(&id, &track, now);
        self.account_hold(&id, &track, now, zones);
        for event in &reported.events {
            self.apply_event(&id, &track, &machine, event, now);
        }
        self.record_boot(&id, &machine, &reported.boot_id, now);
        if !reported.update_check {
            return AppOutcome::Known(None);
        }
        // Versions that the machine gave up are offered again. It declines those that it still rejects.
        if request.is_on_demand {
            let app = self.apps.get_mut(&id);
            app.and_then(|app| app.change(&machine, |machine| machine.given_up.clear()));
        }
        AppOutcome::Known(Some(self.check(&id, &track, &machine, &version, now, zones)))
    }

    fn check(
        &mut self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        version: &Version,
        now: u64,
        zones: Zones<'_>,
    ) -> CheckResult {
        let Some(decision) = self.decide(id, track, machine, version, now, zones) else {
            return CheckResult::NoUpdate(Reason::NoPackage);
        };
        match decision {
            Decision::NoUpdate(reason) => {
                if matches!(reason, Reason::UpToDate | Reason::Newer) {
                    self.complete(id, track, machine, version, now);
                }
                self.refuse(id, track, machine, reason, now);
                CheckResult::NoUpdate(reason)
            }
            Decision::Repeat(version) => {
                CheckResult::Update { version, arch: track.arch().to_owned(), group: track.clone() }
            }
            Decision::Grant(version) => {
                self.grant(id, track, machine, &version, now);
                CheckResult::Update { version, arch: track.arch().to_owned(), group: track.clone() }
            }
        }
    }

    /// Has no side effects. `None`: the group does not exist.
    fn decide(
        &self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        version: &Version,
        now: u64,
        zones: Zones<'_>,
    ) -> Option<Decision> {
        let app = self.apps.get(id)?;
        let state = app.groups.get(track)?;
        let machine_state = app.machines.get(machine)?;
        let channel = app.channels.get(&state.group.channel);
        let name = &state.group.channel;
        let Some((channel, newest)) = channel.and_then(|channel| Some((channel, channel.package.as_ref()?)))
        else {
            return Some(Decision::NoUpdate(Reason::NoPackage));
        };
        if !is_older(version, newest) {
            let equal = version.cmp_precedence(newest).is_eq();
            return Some(Decision::NoUpdate(if equal { Reason::UpToDate } else { Reason::Newer }));
        }
        // The lowest floor above the running version comes first.
        let is_between = |floor: &&Version| is_older(version, floor) && is_older(floor, newest);
        let target = channel.floors.iter().find(is_between).unwrap_or(newest);
        let Some(package) = app.package(target, track.arch()) else {
            return Some(Decision::NoUpdate(Reason::NoPackage));
        };
        let decision = match restriction(package, name, machine_state, version) {
            Some(reason) => Decision::NoUpdate(reason),
            None => apply_policy(state, machine_state, machine, target, now, zones),
        };
        Some(decision)
    }

    fn grant(&mut self, id: &str, track: &Track, machine: &Arc<str>, version: &Version, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(state) = app.groups.get_mut(track) else { return };
        let Some(known) = app.machines.get(machine) else { return };
        let before = known.last_grant.clone();
        let grant = Grant { version: version.clone(), at: now, renewed: now, before };
        let mut started = None;
        if let Some(rollout) = &mut state.group.rollout {
            if rollout.counts(known, now) {
                rollout.count_attempt(&grant);
            }
            if rollout.started.is_none() {
                rollout.started = Some(now);
                started = Some(rollout.version.to_string());
            }
        }
        app.change(machine, |machine| {
            machine.grant = Some(grant);
            machine.last_grant = Some((version.clone(), now));
            machine.refusal = None;
            machine.set_status(Status::Granted, None, now);
        });
        self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
        self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), true);
        if let Some(version) = started {
            let text = format!("group {track} started the rollout of {version}");
            let entry = NewEntry::new(Severity::Info, Kind::RolloutStarted, text);
            self.log_activity(
                id,
                now,
                NewEntry { group: Some(track.clone()), version: Some(version), ..entry },
            );
        }
    }

    fn refuse(&mut self, id: &str, track: &Track, machine: &Arc<str>, reason: Reason, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let was = app.change(machine, |machine| {
            let holds = matches!(reason, Reason::MaxPerPeriod | Reason::MaxInProgress | Reason::SafeMode);
            // A machine that installed an earlier version still has to boot it.
            if holds && machine.status != Status::Installed {
                machine.grant = None;
                machine.set_status(Status::OnHold, None, now);
            }
            machine.refusal.replace(reason)
        });
        // Logged once per machine.
        if reason == Reason::NoPackage && was != Some(Some(reason)) {
            let text =
                format!("a machine of group {track} checked for updates, but its channel has no version");
            let entry = NewEntry::new(Severity::Warning, Kind::PackageNotFound, text);
            let machine = Some(machine.to_string());
            self.log_activity(id, now, NewEntry { group: Some(track.clone()), machine, ..entry });
        }
    }
}

enum Decision {
    NoUpdate(Reason),
    /// A valid grant already exists.
    Repeat(Version),
    Grant(Version),
}

/// Checks that do not depend on the policy.
fn restriction(package: &Package, channel: &Track, machine: &Machine, version: &Version) -> Option<Reason> {
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

/// Checks in the order of CoreUpdate. A machine with a grant keeps it: it asks again because its attempt ended. Its
/// timeout continues.
fn apply_policy(
    state: &GroupState,
    machine: &Machine,
    id: &Arc<str>,
    target: &Version,
    now: u64,
    zones: Zones<'_>,
) -> Decision {
    let (group, counts) = (&state.group, &state.counts);
    if group.paused.is_some() {
        return Decision::NoUpdate(Reason::Paused);
    }
    let grant = machine.grant.as_ref().filter(|grant| grant.version == *target);
    if grant.is_some() {
        return match machine.status {
            Status::Installed => Decision::NoUpdate(Reason::UpdateInProgress),
            _ => Decision::Repeat(target.clone()),
        };
    }
    // The grant expired before the reboot. The machine either ignores the offer or has reset its update and needs it
    // again. Neither counts as in progress.
    let is_pending = |machine: &Machine| machine.is_reboot_pending();
    if is_pending(machine) && machine.last_grant.as_ref().is_some_and(|(version, _)| version == target) {
        return Decision::Repeat(target.clone());
    }
    if !group.policy.is_open(now, zones) {
        return Decision::NoUpdate(Reason::Window);
    }
    let age = group.rollout.as_ref().map_or(0, |rollout| rollout.age(now));
    // By the rollout's version: the version of each floor would select another share.
    let rolled_out = group.rollout.as_ref().map_or(target, |rollout| &rollout.version);
    if !is_in_share(id, &rolled_out.to_string(), group.policy.share(age)) {
        return Decision::NoUpdate(Reason::Share);
    }
    // The machine's own earlier grant does not count against it.
    let own_grant = machine.last_grant.as_ref().map(|(_, at)| (*at, id.clone()));
    let recent = counts.recent_grants.len()
        - usize::from(own_grant.is_some_and(|own| counts.recent_grants.contains(&own)));
    let own_active = machine.grant.as_ref().map(|grant| (grant.renewed, id.clone()));
    let in_progress = counts.active_grants.len()
        - usize::from(own_active.is_some_and(|own| counts.active_grants.contains(&own)));
    let none_succeeded = group.rollout.as_ref().is_none_or(|rollout| rollout.succeeded == 0);
    // Anyone can invent machines: they do not go first, and leave half of the slots to the others.
    let is_newcomer = group.rollout.as_ref().is_some_and(|rollout| !rollout.counts(machine, now));
    let of_slots = |limit: usize| if is_newcomer { limit.div_ceil(2) } else { limit };
    let may_go_first = group.rollout.as_ref().is_none_or(|rollout| rollout.may_go_first(machine, now));
    let pending_reboots = counts.reboot_pending.len() - usize::from(is_pending(machine));
    if group.policy.safe_mode && none_succeeded && (!may_go_first || in_progress + pending_reboots >= 1) {
        return Decision::NoUpdate(Reason::SafeMode);
    }
    if group.policy.per_period().map(of_slots).is_some_and(|limit| recent >= limit) {
        return Decision::NoUpdate(Reason::MaxPerPeriod);
    }
    if group.policy.in_progress().map(of_slots).is_some_and(|limit| in_progress >= limit) {
        return Decision::NoUpdate(Reason::MaxInProgress);
    }
    Decision::Grant(target.clone())
}

/// Registers or updates the machine. Returns its id and the machine that was removed for it. `None`: the request is
/// invalid, or the application has too many machines, in total or from this source.
fn register(
    app: &mut Application,
    request: AppRequest<'_>,
    track: &Track,
    now: u64,
) -> Option<(Arc<str>, Option<Arc<str>>)> {
    let reported = request.app;
    // Diskless machines have no persistent id.
    let id = [&reported.machine_id, &reported.boot_id].into_iter().find(|id| !id.is_empty())?;
    let texts = [
        id.as_str(),
        &reported.version,
        &reported.boot_id,
        &reported.oem,
        &reported.oem_version,
        &reported.aleph_version,
        reported.machine_alias.as_deref().unwrap_or_default(),
    ];
    if texts.iter().any(|text| text.len() > TEXT || text.contains(char::is_control)) {
        return None;
    }
    let id: Arc<str> = id.as_str().into();
    let (mut removed, moves) = (None, request.is_registered || app.may_move(&id, request.ip));
    match app.machines.get(&id).map(|machine| machine.registered) {
        // Another client uses its id, or it lost its token.
        Some(Some(registered)) if !request.is_registered && now.saturating_sub(registered) < NEWCOMER => {
            return None;
        }
        Some(_) => {}
        None => {
            removed = app.make_room(request.ip, request.is_registered).ok()?;
            app.put_machine(Machine::new(&id, track.clone(), request.ip, now));
        }
    }
    app.change(&id, |machine| {
        if machine.track != *track {
            machine.track = track.clone();
            machine.forget_grants(now);
        }
        if machine.registered.is_some() != request.is_registered {
            // It counted otherwise until now.
            machine.forget_grants(now);
            machine.first_seen = if request.is_registered { machine.first_seen } else { now };
        }
        machine.registered = request.is_registered.then_some(now);
        machine.last_seen = now;
        // The clock was set back.
        machine.first_seen = machine.first_seen.min(now);
        if reported.update_check {
            machine.last_check = now;
        }
        for (field, reported) in [
            (&mut machine.version, &reported.version),
            (&mut machine.oem, &reported.oem),
            (&mut machine.oem_version, &reported.oem_version),
            (&mut machine.aleph_version, &reported.aleph_version),
        ] {
            assign(field, reported);
        }
        if moves {
            machine.ip = request.ip;
        }
        if let Some(alias) = &reported.machine_alias {
            machine.alias = Some(alias.clone());
        }
    });
    Some((id, removed))
}

/// Reuses the allocation.
pub(crate) fn assign(field: &mut String, reported: &str) {
    if field != reported {
        field.clear();
        field.push_str(reported);
    }
}
