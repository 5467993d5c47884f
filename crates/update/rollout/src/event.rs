//! Update events of machines (contract 1.4.5).

use std::sync::Arc;

use omaha::{ErrorCode, Event, EventResult, EventType};
use semver::Version;

use crate::activity::{Kind, Severity};
use crate::check::assign;
use crate::group::{PausedBy, Rollout};
use crate::limits::DOWNLOAD;
use crate::machine::{Failure, Status};
use crate::package::is_older;
use crate::record::RecordKey;
use crate::state::{NewEntry, UpdateState};
use crate::track::Track;

/// A machine's failure to update to a version.
struct FailureReport {
    version: Version,
    code: ErrorCode,
    /// The machine rejects the version from now on.
    gave_up: bool,
    text: String,
}

impl UpdateState {
    pub(crate) fn apply_event(
        &mut self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        event: &Event,
        now: u64,
    ) {
        if event.result == EventResult::ERROR {
            let code = event.error.unwrap_or(ErrorCode(1));
            return match ErrorCode(code.code()) {
                // A failed download does not indicate a bad version.
                ErrorCode::IGNORED_PER_POLICY
                | ErrorCode::DEFERRED_PER_POLICY
                | ErrorCode::DOWNLOAD_TRANSFER => {
                    self.handle_declined(id, track, machine, Some(code), now);
                }
                _ => self.handle_failed(id, track, machine, code, now),
            };
        }
        if (event.kind, event.result) == (EventType::UPDATE_COMPLETE, EventResult::DEFERRED) {
            return self.handle_declined(id, track, machine, None, now);
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
            // No grant: the event belongs to another server's update.
            let Some(grant) = &mut machine.grant else { return false };
            // Only a new step renews the grant, or download progress for a day at most. No machine holds a slot
            // forever.
            let is_progress = status == Status::Downloading && now < grant.at.saturating_add(DOWNLOAD);
            if status.step() > machine.status.step() || is_progress && machine.status == status {
                grant.renewed = now;
            }
            machine.set_status(status, None, now);
            true
        });
        if moved == Some(true) {
            self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
        }
    }

    /// The machine does not install the version it was granted: updates are held, its policy forbids it, or the
    /// download failed. Its slot is released. This is neither an attempt nor a failure of the version.
    fn handle_declined(
        &mut self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        code: Option<ErrorCode>,
        now: u64,
    ) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let declined = app.change(machine, |machine| {
            let grant = machine.grant.take()?;
            machine.last_grant = grant.before.clone();
            let rejects = code.is_some_and(|code| code.code() == ErrorCode::IGNORED_PER_POLICY.code());
            if rejects {
                machine.give_up(&grant.version);
            }
            match code {
                Some(code) => machine.set_status(Status::Error, Some(code.0), now),
                None => machine.set_status(Status::OnHold, None, now),
            }
            Some((grant, rejects))
        });
        let Some((grant, rejects)) = declined.flatten() else { return };
        self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
        if let Some(app) = self.apps.get_mut(id)
            && let Some(rollout) = app.groups.get_mut(track).and_then(|state| state.group.rollout.as_mut())
            && app.machines.get(machine).is_some_and(|known| rollout.counts(known, grant.at))
        {
            rollout.uncount_attempt(&grant);
            self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), true);
        }
        if rejects {
            let version = grant.version.to_string();
            let code = code.map(|code| format!(": error {code}")).unwrap_or_default();
            let text = format!("{machine} rejected {version}{code}; it is not offered to this machine again");
            let entry = NewEntry::new(Severity::Info, Kind::InstanceUpdateFailed, text);
            let (group, machine) = (Some(track.clone()), Some(machine.to_string()));
            self.log_activity(id, now, NewEntry { group, version: Some(version), machine, ..entry });
        }
    }

    fn handle_failed(&mut self, id: &str, track: &Track, machine: &Arc<str>, code: ErrorCode, now: u64) {
        let Some(known) = self.apps.get(id).and_then(|app| app.machines.get(machine)) else { return };
        let gave_up = code.code() == ErrorCode::ROLLBACK.code();
        let granted = known.grant.as_ref().map(|grant| grant.version.clone());
        let last = known.last_grant.as_ref().map(|(version, _)| version.clone());
        // A rollback is reported two boots later, possibly after the grant expired.
        let Some(version) = granted.or(if gave_up { last } else { None }) else { return };
        let text = match gave_up {
            true => format!("{machine} booted {version} and rolled back"),
            false => format!("{machine} failed with {version}: error {code}"),
        };
        self.count_failure(id, track, machine, FailureReport { version, code, gave_up, text }, now);
    }

    /// The machine installed a version and stopped reporting: the version may not boot there. Returns whether that
    /// counts against the current rollout.
    pub(crate) fn handle_lost(&mut self, id: &str, track: &Track, machine: &Arc<str>, now: u64) -> bool {
        let Some(app) = self.apps.get_mut(id) else { return false };
        let rollout = app.groups.get(track).and_then(|state| state.group.rollout.as_ref());
        let since = rollout.map_or(0, |rollout| rollout.since);
        let granted = app.machines.get(machine).and_then(|known| known.last_grant.clone());
        let Some((version, _)) = granted.filter(|(_, at)| *at >= since) else {
            app.change(machine, |machine| machine.set_status(Status::Undefined, None, now));
            self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
            return false;
        };
        let counts = rollout
            .zip(app.machines.get(machine))
            .is_some_and(|(rollout, known)| rollout.counts_granted(known));
        let text = format!("{machine} installed {version} and stopped reporting");
        let failed = FailureReport { version, code: ErrorCode(1), gave_up: false, text };
        self.count_failure(id, track, machine, failed, now);
        counts
    }

    fn count_failure(
        &mut self,
        id: &str,
        track: &Track,
        machine: &Arc<str>,
        failed: FailureReport,
        now: u64,
    ) {
        let FailureReport { version, code, gave_up, text } = failed;
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(state) = app.groups.get_mut(track) else { return };
        let Some(known) = app.machines.get(machine) else { return };
        let since = state.group.rollout.as_ref().map_or(0, Rollout::counting_since);
        let is_first = !(known.has_failed(&version)
            && known.failure.as_ref().is_some_and(|failure| failure.at >= since));
        let counts =
            is_first && state.group.rollout.as_ref().is_some_and(|rollout| rollout.counts_granted(known));
        if counts && let Some(rollout) = &mut state.group.rollout {
            rollout.failed += 1;
        }
        let limit_exceeded = state.group.rollout.as_ref().filter(|rollout| {
            counts && state.group.policy.is_failing(rollout.failed, rollout.attempts_in_period())
        });
        let why = limit_exceeded.map(|rollout| {
            format!(
                "{} of {} machines failed with {}",
                rollout.failed,
                rollout.attempts_in_period(),
                rollout.version
            )
        });
        app.change(machine, |machine| {
            machine.grant = None;
            machine.failure = Some(Failure { version: Some(version.clone()), code: code.0, at: now });
            if gave_up {
                machine.give_up(&version);
            }
            machine.set_status(Status::Error, Some(code.0), now);
        });
        self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
        self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), true);
        if is_first {
            let entry = NewEntry::new(Severity::Warning, Kind::InstanceUpdateFailed, text);
            let version = Some(version.to_string());
            self.log_activity(
                id,
                now,
                NewEntry { group: Some(track.clone()), version, machine: Some(machine.to_string()), ..entry },
            );
        }
        if let Some(why) = why {
            self.pause_by(id, track, PausedBy::Failures, why, now);
        }
    }

    /// The machine runs `version`. Completes its update if that is at least the granted version.
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
            // The machine runs another version than granted, so the state of its update is unknown.
            if known.grant.is_some() {
                app.change(machine, |machine| {
                    machine.grant = None;
                    machine.set_status(Status::Undefined, None, now);
                });
                self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
            }
            return;
        }
        if was_complete {
            return;
        }
        let rollout = app.groups.get(track).and_then(|state| state.group.rollout.as_ref());
        let reached = rollout.filter(|rollout| at >= rollout.since && !is_older(version, &rollout.version));
        let success = reached.map(|rollout| (rollout.version.clone(), now));
        let counts = rollout.is_some_and(|rollout| rollout.counts(known, at));
        let changed = app.change(machine, |machine| {
            machine.grant = None;
            machine.set_status(Status::Complete, None, now);
            let before = success.and_then(|success| machine.last_success.replace(success));
            (machine.failure.take().map(|failure| failure.at), before)
        });
        let (failed_at, last_success) = changed.unwrap_or_default();
        self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
        let Some(state) = self.apps.get_mut(id).and_then(|app| app.groups.get_mut(track)) else { return };
        let Some(rollout) = &mut state.group.rollout else { return };
        if at < rollout.since || is_older(version, &rollout.version) {
            return;
        }
        // After a reset or a fallback the machine reaches the version a second time.
        let is_repeated =
            last_success.is_some_and(|(version, at)| version == rollout.version && at >= rollout.since);
        if counts && !is_repeated {
            rollout.succeeded += 1;
        }
        if counts && failed_at.is_some_and(|failed| failed >= rollout.counting_since()) {
            rollout.failed = rollout.failed.saturating_sub(1);
        }
        let has_version = |(name, _): (&String, &usize)| {
            name.parse().is_ok_and(|version: Version| !is_older(&version, &rollout.version))
        };
        let finished = rollout.finished.is_none() && state.counts.versions.iter().all(has_version);
        if finished {
            rollout.finished = Some(now);
        }
        let (version, count) = (rollout.version.to_string(), state.counts.machines);
        self.mark_changed(RecordKey::Group(id.to_owned(), track.clone()), true);
        if finished {
            let text = format!("group {track} finished the rollout of {version}: {count} machines");
            let entry = NewEntry::new(Severity::Success, Kind::RolloutFinished, text);
            self.log_activity(
                id,
                now,
                NewEntry { group: Some(track.clone()), version: Some(version), ..entry },
            );
        }
    }

    /// Resets a machine that installed a version, booted again and did not report success: it was reprovisioned, or
    /// fell back without a report.
    pub(crate) fn record_boot(&mut self, id: &str, machine: &Arc<str>, boot_id: &str, now: u64) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let lost = app.change(machine, |machine| {
            let other = !boot_id.is_empty() && !machine.boot_id.is_empty() && machine.boot_id != boot_id;
            assign(&mut machine.boot_id, boot_id);
            let lost = other && machine.status == Status::Installed;
            if lost {
                machine.grant = None;
                machine.set_status(Status::Undefined, None, now);
            }
            lost
        });
        if lost == Some(true) {
            self.mark_changed(RecordKey::Machine(id.to_owned(), machine.to_string()), true);
        }
    }
}
