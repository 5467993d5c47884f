//! The complete state of all applications, and the changes to persist.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::activity::{Entry, Kind, Severity};
use crate::application::Application;
use crate::group::{Paused, PausedBy};
use crate::limits::{ACTIVITY, LOST_AFTER};
use crate::machine::Status;
use crate::policy::Zones;
use crate::record::{LoadedRecord, RecordKey, Value};
use crate::timeline::TimelinePoint;
use crate::track::Track;

/// Seconds without contact after which a machine is removed.
const MACHINE_RETENTION: u64 = 90 * 24 * 3600;

/// All applications, with what has to be persisted of them.
#[derive(Debug, Default)]
pub struct UpdateState {
    /// Keyed by [`canonical_id`].
    pub(crate) apps: BTreeMap<String, Application>,
    activity: VecDeque<Entry>,
    next_number: u64,
    /// Changed records. `true`: must be on disk before the response is sent.
    changes: BTreeMap<RecordKey, bool>,
    /// When this process began to serve: time of the first request or [`UpdateState::tick`]; 0 before.
    serving_since: u64,
}

/// An activity entry without number, time and application.
pub(crate) struct NewEntry {
    pub severity: Severity,
    pub kind: Kind,
    pub group: Option<Track>,
    pub channel: Option<Track>,
    pub version: Option<String>,
    pub machine: Option<String>,
    pub text: String,
}

impl NewEntry {
    pub fn new(severity: Severity, kind: Kind, text: String) -> Self {
        Self { severity, kind, group: None, channel: None, version: None, machine: None, text }
    }
}

/// The key of an application: its id in lower case, without braces.
pub(crate) fn canonical_id(id: &str) -> String {
    let id = id.trim();
    let id = id.strip_prefix('{').and_then(|id| id.strip_suffix('}')).unwrap_or(id);
    id.to_ascii_lowercase()
}

impl UpdateState {
    /// By canonical id, in its order.
    pub fn apps(&self) -> impl Iterator<Item = (&str, &Application)> {
        self.apps.iter().map(|(id, app)| (id.as_str(), app))
    }

    /// By id, with or without braces, or by `product_id`.
    pub fn app(&self, id: &str) -> Option<(&str, &Application)> {
        let found = self.apps.get_key_value(&canonical_id(id));
        let named = || self.apps.iter().find(|(_, app)| app.app.product_id.as_deref() == Some(id));
        found.or_else(named).map(|(id, app)| (id.as_str(), app))
    }

    /// Oldest first.
    pub fn activity(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.activity.iter()
    }

    /// Restores one record, in any order. Call [`UpdateState::finish_loading`] after the last one.
    pub fn load(&mut self, loaded: LoadedRecord, deferred: &mut Vec<LoadedRecord>) {
        match loaded {
            LoadedRecord::App(app) => {
                self.apps.entry(canonical_id(&app.id)).or_insert_with(|| Application::new(app));
            }
            LoadedRecord::Activity(entry) => {
                self.next_number = self.next_number.max(entry.number + 1);
                self.activity.push_back(entry);
            }
            other => deferred.push(other),
        }
    }

    /// Inserts the records that belong to an application. Records of unknown applications are dropped.
    pub fn finish_loading(&mut self, deferred: Vec<LoadedRecord>) {
        let (mut groups, mut timelines) = (Vec::new(), BTreeMap::new());
        for loaded in deferred {
            match loaded {
                LoadedRecord::Package(app, package) => {
                    if let Some(app) = self.apps.get_mut(&app) {
                        app.packages.insert((package.version.clone(), package.arch.clone()), package);
                    }
                }
                LoadedRecord::Channel(app, channel) => {
                    if let Some(app) = self.apps.get_mut(&app) {
                        app.channels.insert(channel.track.clone(), channel);
                    }
                }
                LoadedRecord::Machine(app, machine) => {
                    if let Some(app) = self.apps.get_mut(&app) {
                        app.put_machine(machine);
                    }
                }
                LoadedRecord::Group(app, group) => groups.push((app, group)),
                LoadedRecord::Timeline(app, track, timeline) => {
                    timelines.insert((app, track), timeline);
                }
                LoadedRecord::App(_) | LoadedRecord::Activity(_) => {}
            }
        }
        // Groups count machines, so they come last.
        for (app, group) in groups {
            let timeline = timelines.remove(&(app.clone(), group.track.clone())).unwrap_or_default();
            if let Some(app) = self.apps.get_mut(&app) {
                app.put_group(group, timeline);
            }
        }
        self.activity.make_contiguous().sort_by_key(|entry| entry.number);
        self.changes.clear();
    }

    /// Records changed since the last call. `true`: must be on disk before the response is sent.
    pub fn take_changes(&mut self) -> BTreeMap<RecordKey, bool> {
        std::mem::take(&mut self.changes)
    }

    /// `None`: the record is to be removed.
    pub fn value(&self, record: &RecordKey) -> Option<Value<'_>> {
        let of = |app: &String| self.apps.get(app);
        match record {
            RecordKey::App(app) => of(app).map(|app| Value::App(&app.app)),
            RecordKey::Package(app, version, arch) => of(app)?.package(version, arch).map(Value::Package),
            RecordKey::Channel(app, track) => of(app)?.channels.get(track).map(Value::Channel),
            RecordKey::Group(app, track) => {
                of(app)?.groups.get(track).map(|state| Value::Group(&state.group))
            }
            RecordKey::Timeline(app, track) => {
                of(app)?.groups.get(track).map(|state| Value::Timeline(&state.timeline))
            }
            RecordKey::Machine(app, id) => of(app)?.machines.get(id.as_str()).map(Value::Machine),
            RecordKey::Activity(number) => {
                let at = self.activity.binary_search_by_key(number, |entry| entry.number).ok()?;
                self.activity.get(at).map(Value::Activity)
            }
        }
    }

    pub(crate) fn mark_changed(&mut self, record: RecordKey, is_durable: bool) {
        *self.changes.entry(record).or_default() |= is_durable;
    }

    pub(crate) fn log_activity(&mut self, app: &str, now: u64, entry: NewEntry) {
        let NewEntry { severity, kind, group, channel, version, machine, text } = entry;
        let number = self.next_number;
        self.next_number += 1;
        let app = app.to_owned();
        self.activity.push_back(Entry {
            number,
            at: now,
            severity,
            kind,
            app,
            group,
            channel,
            version,
            machine,
            text,
        });
        self.mark_changed(RecordKey::Activity(number), true);
        if self.activity.len() > ACTIVITY
            && let Some(oldest) = self.activity.pop_front()
        {
            self.mark_changed(RecordKey::Activity(oldest.number), false);
        }
    }

    /// Expires grants, detects lost machines and adds a point to each group's timeline. Call it periodically.
    pub fn tick(&mut self, now: u64, zones: Zones<'_>) {
        let groups: Vec<(String, Track)> = self
            .apps
            .iter()
            .flat_map(|(id, app)| app.groups.keys().map(|track| (id.clone(), track.clone())))
            .collect();
        for (id, track) in groups {
            self.expire(&id, &track, now);
            self.account_hold(&id, &track, now, zones);
            let Some(state) = self.apps.get_mut(&id).and_then(|app| app.groups.get_mut(&track)) else {
                continue;
            };
            let statuses =
                state.counts.statuses.iter().map(|(status, count)| (status.as_str().to_owned(), *count));
            let point = TimelinePoint {
                at: now,
                versions: state.counts.common_versions(),
                statuses: statuses.collect(),
            };
            if state.timeline.record(point) {
                self.mark_changed(RecordKey::Timeline(id, track), false);
            }
        }
    }

    /// Accounts for the time in which the group's waves do not advance.
    pub(crate) fn account_hold(&mut self, id: &str, track: &Track, now: u64, zones: Zones<'_>) {
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        let group = &mut state.group;
        let Some(rollout) = &mut group.rollout else { return };
        if group.policy.waves.is_empty() || rollout.finished.is_some() {
            return;
        }
        let may_grant = group.paused.is_none() && group.policy.is_open(now, zones);
        rollout.account_hold(may_grant, now);
        self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), false);
    }

    /// Removes machines without contact for 90 days. Visits every machine; do not call it often.
    pub fn forget(&mut self, now: u64) {
        let mut removed = Vec::new();
        for (id, app) in &mut self.apps {
            let old = app.machines.values().filter(|machine| machine.last_seen + MACHINE_RETENTION < now);
            let old: Vec<String> = old.map(|machine| machine.id.clone()).collect();
            for machine in old {
                app.remove_machine(&machine);
                removed.push(RecordKey::Machine(id.clone(), machine));
            }
        }
        removed.into_iter().for_each(|record| self.mark_changed(record, false));
    }

    /// Expires grants, drops grants of past periods and detects lost machines.
    pub(crate) fn expire(&mut self, id: &str, track: &Track, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(state) = app.groups.get_mut(track) else { return };
        let (period, timeout) = (state.group.policy.period, state.group.policy.timeout);
        let expired = state
            .counts
            .active_grants
            .iter()
            .take_while(|(renewed, _)| renewed.saturating_add(timeout) <= now);
        let expired: Vec<Arc<str>> = expired.map(|(_, machine)| machine.clone()).collect();
        // The clock was set back: cap timestamps in the future.
        let sets = [&state.counts.active_grants, &state.counts.recent_grants].into_iter();
        let ahead = sets.flat_map(|set| set.iter().rev().take_while(|(at, _)| *at > now));
        let ahead: Vec<Arc<str>> = ahead.map(|(_, machine)| machine.clone()).collect();
        for machine in &ahead {
            app.change(machine, |machine| {
                if let Some(grant) = &mut machine.grant {
                    grant.renewed = grant.renewed.min(now);
                }
                if let Some((_, at)) = &mut machine.last_grant {
                    *at = (*at).min(now);
                }
            });
        }
        let mut timed_out = 0;
        let rollout = expired.first().and_then(|_| app.groups.get(track)?.group.rollout.clone());
        for machine in &expired {
            let vanished = app.change(machine, |machine| {
                machine.grant = None;
                if machine.status == Status::Installed {
                    return false;
                }
                machine.set_status(Status::Undefined, None, now);
                rollout.as_ref().is_some_and(|rollout| rollout.counts_granted(machine))
            });
            timed_out += u32::from(vanished == Some(true));
        }
        // Machines could not report while this server was down.
        self.serving_since = if self.serving_since == 0 { now } else { self.serving_since.min(now) };
        let silent = now.saturating_sub(LOST_AFTER);
        let lost: Vec<Arc<str>> = match app.groups.get(track) {
            Some(state) if self.serving_since <= silent => {
                let installed = state.counts.reboot_pending.iter();
                installed
                    .take_while(|(seen, _)| *seen <= silent)
                    .map(|(_, machine)| machine.clone())
                    .collect()
            }
            _ => Vec::new(),
        };
        let mut is_rollout_ahead = false;
        if let Some(rollout) = app.groups.get_mut(track).and_then(|state| state.group.rollout.as_mut()) {
            is_rollout_ahead = rollout.since > now;
            rollout.since = rollout.since.min(now);
        }
        // Last: changing a machine re-adds its old grant.
        if let Some(state) = app.groups.get_mut(track) {
            while state.counts.recent_grants.first().is_some_and(|(at, _)| at.saturating_add(period) <= now) {
                state.counts.recent_grants.pop_first();
            }
        }
        if is_rollout_ahead {
            self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), false);
        }
        for machine in ahead.iter().chain(&expired) {
            self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), false);
        }
        for machine in &lost {
            timed_out += u32::from(self.handle_lost(id, track, machine, now));
        }
        if timed_out > 0 {
            self.timed_out(id, track, timed_out, now);
        }
    }

    fn timed_out(&mut self, id: &str, track: &Track, count: u32, now: u64) {
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        let Some(rollout) = &mut state.group.rollout else { return };
        rollout.timed_out += count;
        let limit =
            if rollout.succeeded == 0 { 1 } else { state.group.policy.max_per_period.unwrap_or(1).max(1) };
        let stops = state.group.policy.safe_mode && rollout.timed_out >= limit;
        self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), true);
        if stops {
            let why = "a machine that tried the version timed out (safe mode)".to_owned();
            self.pause_by(id, track, PausedBy::TimeOuts, why, now);
        }
    }

    /// Pauses the group unless it is paused already, and logs that.
    pub(crate) fn pause_by(&mut self, id: &str, track: &Track, by: PausedBy, why: String, now: u64) {
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        if state.group.paused.is_some() {
            return;
        }
        let version = state.group.rollout.as_ref().map(|rollout| rollout.version.to_string());
        let (severity, kind) = match by {
            PausedBy::Operator => (Severity::Info, Kind::Operator),
            PausedBy::Failures | PausedBy::TimeOuts => (Severity::Error, Kind::RolloutFailed),
        };
        let text = format!("group {track} is paused: {why}");
        state.group.paused = Some(Paused { by, why, at: now });
        self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), true);
        let group = Some(track.clone());
        self.log_activity(id, now, NewEntry { group, version, ..NewEntry::new(severity, kind, text) });
    }
}
