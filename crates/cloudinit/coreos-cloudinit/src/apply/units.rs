//! Unit files and unit commands: mask, enable, daemon-reload, jobs.

use std::time::{Duration, Instant};

use cloudinit::plan::When;
use host::Outcome;
use host::files::{self, Unmasked};
use host::systemd::{Job, Systemd};

use super::context::{ApplyContext, StepError, StepResult};
use super::pending_job::PendingJob;

/// How long to wait for a unit's job before the next command.
const COMMAND_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Units whose start depends on other machines: a discovery service, a majority of members.
const CLUSTER_UNITS: [&str; 3] = ["etcd.service", "etcd2.service", "fleet.service"];
/// How long the next command waits for a cluster unit.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);

impl ApplyContext<'_> {
    pub(super) fn mask(&mut self, path: &str) -> StepResult {
        self.info(format!("Masking unit file {:?}", file_name(path)));
        let outcome = files::mask(self.settings.root, path)?;
        if outcome.changed() {
            self.changed_units.insert(file_name(path).to_owned());
        }
        Ok(outcome)
    }

    pub(super) fn unmask(&mut self, path: &str) -> StepResult {
        self.info(format!("Ensuring runtime unit file {:?} is unmasked", file_name(path)));
        match files::unmask(self.settings.root, path)? {
            Unmasked::Removed => {
                let unit = file_name(path);
                self.changed_units.insert(unit.to_owned());
                // The plan has no reload for it, and systemd refuses to start a unit that it has loaded as
                // masked.
                if self.settings.may_run && self.systemd()?.needs_reload_for(unit) {
                    self.reload()?;
                    self.changed_units.remove(unit);
                }
                Ok(Outcome::Changed)
            }
            Unmasked::NotFound => Ok(Outcome::Unchanged),
            Unmasked::Refused => {
                self.info(format!("{path} is not null or empty, refusing to unmask"));
                Ok(Outcome::Unchanged)
            }
        }
    }

    pub(super) fn enable(&mut self, unit: &str, runtime: bool) -> StepResult {
        if !self.may_run(&format!("enabling {unit}")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Enabling unit file {unit:?}"));
        if self.systemd()?.enable(unit, runtime)? {
            self.enabled = true;
            return Ok(Outcome::Changed);
        }
        Ok(Outcome::Unchanged)
    }

    pub(super) fn reload(&mut self) -> StepResult {
        let nothing_changed = !self.enabled && self.changed_units.is_empty();
        if nothing_changed || !self.may_run("daemon-reload") {
            return Ok(Outcome::Unchanged);
        }
        let systemd = self.systemd()?;
        if !self.enabled && !self.changed_units.iter().any(|unit| systemd.needs_reload_for(unit)) {
            self.info("No daemon-reload is needed: systemd has loaded none of the changed units yet");
            return Ok(Outcome::Unchanged);
        }
        self.info("Reloading systemd's units");
        systemd.reload()?;
        Ok(Outcome::Changed)
    }

    pub(super) fn command(&mut self, unit: &str, command: &str, when: When) -> StepResult {
        let is_wanted = match when {
            When::NetworkChanged => self.network_changed,
            When::Written(path) => self.written.contains(path),
            When::Requested | When::Implied => true,
        };
        if !is_wanted {
            return Ok(Outcome::Unchanged);
        }
        if !self.may_run(&format!("{command} of {unit}")) {
            return Ok(Outcome::Unchanged);
        }
        if when == When::NetworkChanged {
            self.info("Restarting systemd-networkd");
        }
        self.info(format!("Calling unit command {command:?} on {unit:?}"));
        let systemd = self.systemd()?;
        let was_active = systemd.is_active(unit);
        if matches!(when, When::Implied | When::Written(_)) {
            systemd.queue_job(unit, command)?;
        } else {
            self.run_command(unit, command)?;
        }
        let outcome = match command {
            "start" if was_active => Outcome::Unchanged,
            "stop" | "try-restart" | "reload-or-try-restart" if !was_active => Outcome::Unchanged,
            _ => Outcome::Changed,
        };
        Ok(outcome)
    }

    /// Queues the job and waits for it; only briefly for units that depend on other machines.
    fn run_command(&mut self, unit: &str, command: &str) -> Result<(), StepError> {
        let systemd = self.systemd()?;
        let job = systemd.start_job(unit, command)?;
        // Cluster units share one wait: they depend on the same machines.
        let is_cluster = CLUSTER_UNITS.contains(&unit);
        let limit = match (is_cluster, self.pending_jobs.is_empty()) {
            (true, true) => CLUSTER_LIMIT,
            (true, false) => Duration::ZERO,
            (false, _) => COMMAND_LIMIT,
        };
        let result = self.wait_for_job(systemd, (unit, command), &job, limit)?;
        if result.is_none() && is_cluster {
            self.settings
                .log
                .warning(format!("{command:?} on {unit:?} is not over yet: other units do not wait for it"));
            self.pending_jobs.push(PendingJob { unit: unit.to_owned(), command: command.to_owned(), job });
            return Ok(());
        }
        self.check_result((unit, command), result.as_deref())
    }

    /// Waits for the jobs that other commands did not wait for.
    pub(super) fn wait_for_pending_jobs(&mut self) {
        for PendingJob { unit, command, job } in std::mem::take(&mut self.pending_jobs) {
            let checked = self.systemd().and_then(|systemd| {
                let result = self.wait_for_job(systemd, (&unit, &command), &job, COMMAND_LIMIT)?;
                self.check_result((&unit, &command), result.as_deref())
            });
            if let Err(StepError(error)) = checked {
                self.record_failure(format!("{command} {unit}"), error);
            }
        }
    }

    fn wait_for_job(
        &self,
        systemd: &Systemd,
        (unit, command): (&str, &str),
        job: &Job,
        limit: Duration,
    ) -> Result<Option<String>, StepError> {
        let end = self.settings.commands_deadline.min(Instant::now() + limit);
        let mut waiting = |waited: Duration| {
            let remaining = end.saturating_duration_since(Instant::now()).as_secs();
            let seconds = waited.as_secs();
            let message = format!(
                "still waiting for {command:?} on {unit:?} ({seconds} s, at most {remaining} s more)"
            );
            self.settings.log.warning(message);
        };
        Ok(systemd.wait(job, end.saturating_duration_since(Instant::now()), &mut waiting)?)
    }

    /// `result`: `None` if the job is still running.
    fn check_result(&self, (unit, command): (&str, &str), result: Option<&str>) -> Result<(), StepError> {
        let Some(result) = result else {
            return Err(StepError("the job is still running".to_owned()));
        };
        self.info(format!("Result of {command:?} on {unit:?}: {result}"));
        match result {
            "done" | "skipped" => Ok(()),
            result => Err(StepError(format!("the job's result is {result}"))),
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
