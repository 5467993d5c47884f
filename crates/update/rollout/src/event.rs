//! What a machine tells of its update, and what that makes of it (contract 1.4.5).

use std::sync::Arc;

use omaha::{ErrorCode, Event, EventResult, EventType};
use semver::Version;

use crate::activity::{Kind, Severity};
use crate::check::keep;
use crate::fleet::{Fleet, News};
use crate::group::{PausedBy, Rollout};
use crate::limits::DOWNLOAD;
use crate::machine::{Failure, Status};
use crate::package::is_older;
use crate::record::Record;
use crate::track::Track;

/// A machine's failure with a version.
struct Failed {
    version: Version,
    code: ErrorCode,
    /// The machine rejects the version from now on.
    gave_up: bool,
    text: String,
}

impl Fleet {
    pub(crate) fn event(&mut self, id: &str, track: &Track, machine: &Arc<str>, event: &Event, now: u64) {
        if event.result == EventResult::ERROR {
            let code = event.error.unwrap_or(ErrorCode(1));
            return match ErrorCode(code.code()) {
                // A network that breaks off says nothing of the version.
                ErrorCode::IGNORED_PER_POLICY
                | ErrorCode::DEFERRED_PER_POLICY
                | ErrorCode::DOWNLOAD_TRANSFER => {
                    self.declined(id, track, machine, Some(code), now);
                }
                _ => self.failed(id, track, machine, code, now),
            };
        }
        if (event.kind, event.result) == (EventType::UPDATE_COMPLETE, EventResult::DEFERRED) {
            return self.declined(id, track, machine, None, now);
        }
        if event.completed_from().is_some() {
            let version = self.apps.get(id).and_then(|app| app.machines.get(machine)?.version.parse().ok());
            if let Some(version) = version {
                self.complete(id, track, machine, &version, now);
            }
            return;
        }
        let status = match (event.kind, event.result) {
            (EventType::DOWNLOAD_STARTED, EventResult::SUCCESS) => Status::Downloading,
            (EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS) => Status::Downloaded,
            (EventType::UPDATE_COMPLETE, EventResult::SUCCESS) => Status::Installed,
            _ => return,
        };
        let Some(app) = self.apps.get_mut(id) else { return };
        let moved = app.change(machine, |machine| {
            // Nothing is on its way: it is from an update that was given to nobody.
            let Some(grant) = &mut machine.grant else { return false };
            // Only a step forward gives more time, or progress of a download for a day: nobody keeps a place forever.
            let is_progress = status == Status::Downloading && now < grant.at.saturating_add(DOWNLOAD);
            if status.step() > machine.status.step() || is_progress && machine.status == status {
                grant.renewed = now;
            }
            machine.turn(status, None, now);
            true
        });
        if moved == Some(true) {
            self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
        }
    }

    /// The machine does not take the version that it was granted: it is held, its policy forbids it, or the version did not reach
    /// it. Its place is free again, and this is neither an attempt nor a failure of the version.
    fn declined(&mut self, id: &str, track: &Track, machine: &Arc<str>, code: Option<ErrorCode>, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let declined = app.change(machine, |machine| {
            let grant = machine.grant.take()?;
            machine.last_grant = grant.before.clone();
            let rejects = code.is_some_and(|code| code.code() == ErrorCode::IGNORED_PER_POLICY.code());
            if rejects {
                machine.give_up(&grant.version);
            }
            match code {
                Some(code) => machine.turn(Status::Error, Some(code.0), now),
                None => machine.turn(Status::OnHold, None, now),
            }
            Some((grant, rejects))
        });
        let Some((grant, rejects)) = declined.flatten() else { return };
        self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
        let group = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track));
        if let Some(rollout) = group.and_then(|state| state.group.rollout.as_mut()) {
            rollout.uncount_attempt(&grant);
            self.changed(Record::Group(id.to_owned(), track.clone()), true);
        }
        if rejects {
            let version = grant.version.to_string();
            let code = code.map(|code| format!(": error {code}")).unwrap_or_default();
            let text = format!("{machine} rejects {version}{code}; it is not offered there again");
            let news = News::new(Severity::Info, Kind::InstanceUpdateFailed, text);
            let (group, machine) = (Some(track.clone()), Some(machine.to_string()));
            self.tell(id, now, News { group, version: Some(version), machine, ..news });
        }
    }

    fn failed(&mut self, id: &str, track: &Track, machine: &Arc<str>, code: ErrorCode, now: u64) {
        let Some(known) = self.apps.get(id).and_then(|app| app.machines.get(machine)) else { return };
        let gave_up = code.code() == ErrorCode::ROLLBACK.code();
        let granted = known.grant.as_ref().map(|grant| grant.version.clone());
        let last = known.last_grant.as_ref().map(|(version, _)| version.clone());
        // A rollback is told behind two boots, when the time of the grant may be over.
        let Some(version) = granted.or(if gave_up { last } else { None }) else { return };
        let text = match gave_up {
            true => format!("{machine} booted {version} and went back"),
            false => format!("{machine} failed with {version}: error {code}"),
        };
        self.count_failure(id, track, machine, Failed { version, code, gave_up, text }, now);
    }

    /// The machine installed a version and stopped reporting: the version may not boot there. Returns whether that counts
    /// against the current rollout.
    pub(crate) fn lost(&mut self, id: &str, track: &Track, machine: &Arc<str>, now: u64) -> bool {
        let Some(app) = self.apps.get_mut(id) else { return false };
        let rollout = app.groups.get(track).and_then(|state| state.group.rollout.as_ref());
        let since = rollout.map_or(0, |rollout| rollout.since);
        let granted = app.machines.get(machine).and_then(|known| known.last_grant.clone());
        let Some((version, _)) = granted.filter(|(_, at)| *at >= since) else {
            app.change(machine, |machine| machine.turn(Status::Undefined, None, now));
            self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
            return false;
        };
        let text = format!("{machine} installed {version} and stopped reporting");
        let failed = Failed { version, code: ErrorCode(1), gave_up: false, text };
        self.count_failure(id, track, machine, failed, now);
        true
    }

    fn count_failure(&mut self, id: &str, track: &Track, machine: &Arc<str>, failed: Failed, now: u64) {
        let Failed { version, code, gave_up, text } = failed;
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(state) = app.groups.get_mut(track) else { return };
        let Some(known) = app.machines.get(machine) else { return };
        let since = state.group.rollout.as_ref().map_or(0, Rollout::counts_from);
        let is_first = !(known.has_failed(&version)
            && known.failure.as_ref().is_some_and(|failure| failure.at >= since));
        if is_first && let Some(rollout) = &mut state.group.rollout {
            rollout.failed += 1;
        }
        let too_many = state
            .group
            .rollout
            .as_ref()
            .filter(|rollout| is_first && state.group.policy.is_failing(rollout.failed, rollout.tried()));
        let why = too_many.map(|rollout| {
            format!("{} of {} machines failed with {}", rollout.failed, rollout.tried(), rollout.version)
        });
        app.change(machine, |machine| {
            machine.grant = None;
            machine.failure = Some(Failure { version: Some(version.clone()), code: code.0, at: now });
            if gave_up {
                machine.give_up(&version);
            }
            machine.turn(Status::Error, Some(code.0), now);
        });
        self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
        self.changed(Record::Group(id.to_owned(), track.clone()), true);
        if is_first {
            let news = News::new(Severity::Warning, Kind::InstanceUpdateFailed, text);
            let version = Some(version.to_string());
            self.tell(
                id,
                now,
                News { group: Some(track.clone()), version, machine: Some(machine.to_string()), ..news },
            );
        }
        if let Some(why) = why {
            self.pause_by(id, track, PausedBy::Failures, why, now);
        }
    }

    /// The machine runs `version`: if it was on its way there, it has come.
    pub(crate) fn complete(
        &mut self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        version: &Version,
        now: u64,
    ) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(known) = app.machines.get(machine) else { return };
        let Some((tried, at)) = known.last_grant.clone() else { return };
        let was_complete = known.status == Status::Complete;
        if is_older(version, &tried) {
            // It went somewhere else than where it was sent: nothing is known of its update any more.
            if known.grant.is_some() {
                app.change(machine, |machine| {
                    machine.grant = None;
                    machine.turn(Status::Undefined, None, now);
                });
                self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
            }
            return;
        }
        if was_complete {
            return;
        }
        let rollout = app.groups.get(track).and_then(|state| state.group.rollout.as_ref());
        let reached = rollout.filter(|rollout| at >= rollout.since && !is_older(version, &rollout.version));
        let success = reached.map(|rollout| (rollout.version.clone(), now));
        let changed = app.change(machine, |machine| {
            machine.grant = None;
            machine.turn(Status::Complete, None, now);
            let before = success.and_then(|success| machine.last_success.replace(success));
            (machine.failure.take().map(|failure| failure.at), before)
        });
        let (failed_at, last_success) = changed.unwrap_or_default();
        self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        let Some(rollout) = &mut state.group.rollout else { return };
        if at < rollout.since || is_older(version, &rollout.version) {
            return;
        }
        // After a reset, or a fall-back, the machine reaches the version again.
        if !last_success.is_some_and(|(version, at)| version == rollout.version && at >= rollout.since) {
            rollout.succeeded += 1;
        }
        if failed_at.is_some_and(|failed| failed >= rollout.counts_from()) {
            rollout.failed = rollout.failed.saturating_sub(1);
        }
        let is_there = |(name, _): (&String, &usize)| {
            name.parse().is_ok_and(|version: Version| !is_older(&version, &rollout.version))
        };
        let finished = rollout.finished.is_none() && state.counts.versions.iter().all(is_there);
        if finished {
            rollout.finished = Some(now);
        }
        let (version, count) = (rollout.version.to_string(), state.counts.machines);
        self.changed(Record::Group(id.to_owned(), track.clone()), true);
        if finished {
            let text = format!("group {track} has {version} on all of its machines: {count}");
            let news = News::new(Severity::Success, Kind::RolloutFinished, text);
            self.tell(id, now, News { group: Some(track.clone()), version: Some(version), ..news });
        }
    }

    /// A machine whose boot is another than that of its grant's last step, and which asks without having come
    /// anywhere, has lost its update: it was made anew, or fell back and could not say so.
    pub(crate) fn note_boot(&mut self, id: &str, machine: &Arc<str>, boot_id: &str, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let lost = app.change(machine, |machine| {
            let other = !boot_id.is_empty() && !machine.boot_id.is_empty() && machine.boot_id != boot_id;
            keep(&mut machine.boot_id, boot_id);
            let lost = other && machine.status == Status::Installed;
            if lost {
                machine.grant = None;
                machine.turn(Status::Undefined, None, now);
            }
            lost
        });
        if lost == Some(true) {
            self.changed(Record::Machine(id.to_owned(), machine.to_string()), true);
        }
    }
}
