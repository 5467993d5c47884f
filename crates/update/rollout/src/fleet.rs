//! All of it, and what of it has to be written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::activity::{Entry, Kind, Severity};
use crate::application::Application;
use crate::group::{Paused, PausedBy};
use crate::limits::{ACTIVITY, LOST};
use crate::machine::Status;
use crate::policy::Zones;
use crate::record::{Loaded, Record, Value};
use crate::timeline::Point;
use crate::track::Track;

/// Who was not heard of for so long, in seconds, is forgotten.
const FORGOTTEN: u64 = 90 * 24 * 3600;

#[derive(Debug, Default)]
pub struct Fleet {
    /// By bare id, in lower case.
    pub(crate) apps: BTreeMap<String, Application>,
    activity: VecDeque<Entry>,
    next: u64,
    /// What changed, and whether that must be on disk before anybody hears of it.
    changes: BTreeMap<Record, bool>,
    /// Start of this process as the machines see it: first contact or first [`Fleet::tick`]; 0 before.
    serving_since: u64,
}

/// What a new entry says besides its place in the order.
pub(crate) struct News {
    pub severity: Severity,
    pub kind: Kind,
    pub group: Option<Track>,
    pub channel: Option<Track>,
    pub version: Option<String>,
    pub machine: Option<String>,
    pub text: String,
}

impl News {
    pub fn new(severity: Severity, kind: Kind, text: String) -> Self {
        Self { severity, kind, group: None, channel: None, version: None, machine: None, text }
    }
}

/// The id by which an application is found.
pub(crate) fn bare(id: &str) -> String {
    let id = id.trim();
    let id = id.strip_prefix('{').and_then(|id| id.strip_suffix('}')).unwrap_or(id);
    id.to_ascii_lowercase()
}

impl Fleet {
    pub fn apps(&self) -> impl Iterator<Item = (&str, &Application)> {
        self.apps.iter().map(|(id, app)| (id.as_str(), app))
    }

    /// By id, in braces or not, or by the name that it has for people.
    pub fn app(&self, id: &str) -> Option<(&str, &Application)> {
        let found = self.apps.get_key_value(&bare(id));
        let named = || self.apps.iter().find(|(_, app)| app.app.product_id.as_deref() == Some(id));
        found.or_else(named).map(|(id, app)| (id.as_str(), app))
    }

    /// From the oldest on.
    pub fn activity(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.activity.iter()
    }

    /// Puts back what was kept, in any order; [`Fleet::finish_loading`] comes behind.
    pub fn load(&mut self, loaded: Loaded, unplaced: &mut Vec<Loaded>) {
        match loaded {
            Loaded::App(app) => {
                self.apps.entry(bare(&app.id)).or_insert_with(|| Application::new(app));
            }
            Loaded::Activity(entry) => {
                self.next = self.next.max(entry.number + 1);
                self.activity.push_back(entry);
            }
            other => unplaced.push(other),
        }
    }

    /// Puts in what belongs to an application; what belongs to none is dropped.
    pub fn finish_loading(&mut self, unplaced: Vec<Loaded>) {
        let (mut groups, mut timelines) = (Vec::new(), BTreeMap::new());
        for loaded in unplaced {
            match loaded {
                Loaded::Package(app, package) => {
                    if let Some(app) = self.apps.get_mut(&app) {
                        app.packages.insert((package.version.clone(), package.arch.clone()), package);
                    }
                }
                Loaded::Channel(app, channel) => {
                    if let Some(app) = self.apps.get_mut(&app) {
                        app.channels.insert(channel.track.clone(), channel);
                    }
                }
                Loaded::Machine(app, machine) => {
                    if let Some(app) = self.apps.get_mut(&app) {
                        app.put_machine(machine);
                    }
                }
                Loaded::Group(app, group) => groups.push((app, group)),
                Loaded::Timeline(app, track, timeline) => {
                    timelines.insert((app, track), timeline);
                }
                Loaded::App(_) | Loaded::Activity(_) => {}
            }
        }
        // Groups count the machines that are there.
        for (app, group) in groups {
            let timeline = timelines.remove(&(app.clone(), group.track.clone())).unwrap_or_default();
            if let Some(app) = self.apps.get_mut(&app) {
                app.put_group(group, timeline);
            }
        }
        self.activity.make_contiguous().sort_by_key(|entry| entry.number);
        self.changes.clear();
    }

    /// What changed since it was asked last, and whether it must be on disk before anybody hears of it.
    pub fn take_changes(&mut self) -> BTreeMap<Record, bool> {
        std::mem::take(&mut self.changes)
    }

    /// `None`: it is to be removed.
    pub fn value(&self, record: &Record) -> Option<Value<'_>> {
        let of = |app: &String| self.apps.get(app);
        match record {
            Record::App(app) => of(app).map(|app| Value::App(&app.app)),
            Record::Package(app, version, arch) => of(app)?.package(version, arch).map(Value::Package),
            Record::Channel(app, track) => of(app)?.channels.get(track).map(Value::Channel),
            Record::Group(app, track) => of(app)?.groups.get(track).map(|state| Value::Group(&state.group)),
            Record::Timeline(app, track) => {
                of(app)?.groups.get(track).map(|state| Value::Timeline(&state.timeline))
            }
            Record::Machine(app, id) => of(app)?.machines.get(id.as_str()).map(Value::Machine),
            Record::Activity(number) => {
                let at = self.activity.binary_search_by_key(number, |entry| entry.number).ok()?;
                self.activity.get(at).map(Value::Activity)
            }
        }
    }

    pub(crate) fn changed(&mut self, record: Record, is_urgent: bool) {
        *self.changes.entry(record).or_default() |= is_urgent;
    }

    pub(crate) fn tell(&mut self, app: &str, now: u64, news: News) {
        let News { severity, kind, group, channel, version, machine, text } = news;
        let number = self.next;
        self.next += 1;
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
        self.changed(Record::Activity(number), true);
        if self.activity.len() > ACTIVITY
            && let Some(oldest) = self.activity.pop_front()
        {
            self.changed(Record::Activity(oldest.number), false);
        }
    }

    /// Ends what ran out of time, and takes in how things are.
    pub fn tick(&mut self, now: u64, zones: Zones<'_>) {
        let groups: Vec<(String, Track)> = self
            .apps
            .iter()
            .flat_map(|(id, app)| app.groups.keys().map(|track| (id.clone(), track.clone())))
            .collect();
        for (id, track) in groups {
            self.expire(&id, &track, now);
            self.count(&id, &track, now, zones);
            let Some(state) = self.apps.get_mut(&id).and_then(|app| app.groups.get_mut(&track)) else {
                continue;
            };
            let statuses =
                state.counts.statuses.iter().map(|(status, count)| (status.word().to_owned(), *count));
            let point =
                Point { at: now, versions: state.counts.common_versions(), statuses: statuses.collect() };
            if state.timeline.record(point) {
                self.changed(Record::Timeline(id, track), false);
            }
        }
    }

    /// Accounts the time in which the group's waves do not advance.
    pub(crate) fn count(&mut self, id: &str, track: &Track, now: u64, zones: Zones<'_>) {
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        let group = &mut state.group;
        let Some(rollout) = &mut group.rollout else { return };
        if group.policy.waves.is_empty() || rollout.finished.is_some() {
            return;
        }
        let may_grant = group.paused.is_none() && group.policy.is_open(now, zones);
        rollout.count(may_grant, now);
        self.changed(Record::Group(id.to_owned(), track.clone()), false);
    }

    /// Forgets machines that were not heard of for 90 days. Looks at each: not to be called often.
    pub fn forget(&mut self, now: u64) {
        let mut gone = Vec::new();
        for (id, app) in &mut self.apps {
            let old = app.machines.values().filter(|machine| machine.last_seen + FORGOTTEN < now);
            let old: Vec<String> = old.map(|machine| machine.id.clone()).collect();
            for machine in old {
                app.remove_machine(&machine);
                gone.push(Record::Machine(id.clone(), machine));
            }
        }
        gone.into_iter().for_each(|record| self.changed(record, false));
    }

    /// Takes back the grants whose time is over, and forgets those of periods that are.
    pub(crate) fn expire(&mut self, id: &str, track: &Track, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(state) = app.groups.get_mut(track) else { return };
        let (period, timeout) = (state.group.policy.period, state.group.policy.timeout);
        let over = state.counts.busy.iter().take_while(|(renewed, _)| renewed.saturating_add(timeout) <= now);
        let over: Vec<Arc<str>> = over.map(|(_, machine)| machine.clone()).collect();
        // From a clock that was ahead: their time begins now.
        let sets = [&state.counts.busy, &state.counts.recent].into_iter();
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
        for machine in &over {
            let vanished = app.change(machine, |machine| {
                machine.grant = None;
                let vanished = machine.status != Status::Installed;
                if vanished {
                    machine.turn(Status::Undefined, None, now);
                }
                vanished
            });
            timed_out += u32::from(vanished == Some(true));
        }
        // Machines could not report while this server was down.
        self.serving_since = if self.serving_since == 0 { now } else { self.serving_since.min(now) };
        let silent = now.saturating_sub(LOST);
        let lost: Vec<Arc<str>> = match app.groups.get(track) {
            Some(state) if self.serving_since <= silent => {
                let installed = state.counts.installed.iter();
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
        // Last: a machine that changes brings its grant of old with it.
        if let Some(state) = app.groups.get_mut(track) {
            while state.counts.recent.first().is_some_and(|(at, _)| at.saturating_add(period) <= now) {
                state.counts.recent.pop_first();
            }
        }
        if is_rollout_ahead {
            self.changed(Record::Group(id.to_owned(), track.clone()), false);
        }
        for machine in ahead.iter().chain(&over) {
            self.changed(Record::Machine(id.to_owned(), machine.to_string()), false);
        }
        for machine in &lost {
            timed_out += u32::from(self.lost(id, track, machine, now));
        }
        if timed_out > 0 {
            self.timed_out(id, track, timed_out, now);
        }
    }

    fn timed_out(&mut self, id: &str, track: &Track, count: u32, now: u64) {
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        let Some(rollout) = &mut state.group.rollout else { return };
        rollout.timed_out += count;
        let most =
            if rollout.succeeded == 0 { 1 } else { state.group.policy.max_per_period.unwrap_or(1).max(1) };
        let stops = state.group.policy.safe_mode && rollout.timed_out >= most;
        self.changed(Record::Group(id.to_owned(), track.clone()), true);
        if stops {
            let why =
                "a machine that was to try the version did not come back in time (safe mode)".to_owned();
            self.pause_by(id, track, PausedBy::TimeOuts, why, now);
        }
    }

    /// Pauses a group that is not, and tells of it.
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
        self.changed(Record::Group(id.to_owned(), track.clone()), true);
        let group = Some(track.clone());
        self.tell(id, now, News { group, version, ..News::new(severity, kind, text) });
    }
}
