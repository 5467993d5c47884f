//! Units: masks, enabling, reloads, commands and their jobs.

use std::time::Duration;

use cloudinit::plan::When;
use host::Outcome;
use host::files::{self, Unmasked};
use host::systemd::Systemd;

use super::hands::{Hands, Step, StepError};

/// How long a unit's job may take before the next command is given.
const COMMAND_LIMIT: Duration = Duration::from_secs(5 * 60);

impl Hands<'_> {
    pub(super) fn mask(&mut self, path: &str) -> Step {
        self.info(format!("Masking unit file {:?}", file_name(path)));
        let outcome = files::mask(self.settings.root, path)?;
        if outcome.changed() {
            self.changed_units.insert(file_name(path).to_owned());
        }
        Ok(outcome)
    }

    pub(super) fn unmask(&mut self, path: &str) -> Step {
        self.info(format!("Ensuring runtime unit file {:?} is unmasked", file_name(path)));
        match files::unmask(self.settings.root, path)? {
            Unmasked::Removed => {
                self.changed_units.insert(file_name(path).to_owned());
                Ok(Outcome::Changed)
            }
            Unmasked::NotThere => Ok(Outcome::Unchanged),
            Unmasked::Refused => {
                self.info(format!("{path} is not null or empty, refusing to unmask"));
                Ok(Outcome::Unchanged)
            }
        }
    }

    pub(super) fn enable(&mut self, unit: &str, runtime: bool) -> Step {
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

    pub(super) fn reload(&mut self) -> Step {
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

    pub(super) fn command(&mut self, unit: &str, command: &str, when: When) -> Step {
        let is_wanted = match when {
            When::NetworkChanged => self.network_changed,
            When::Written(path) => self.written.contains(path),
            When::Asked | When::Implied => true,
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
            systemd.queue(unit, command)?;
        } else {
            self.wait(systemd, unit, command)?;
        }
        let outcome = match command {
            "start" if was_active => Outcome::Unchanged,
            "stop" | "try-restart" | "reload-or-try-restart" if !was_active => Outcome::Unchanged,
            _ => Outcome::Changed,
        };
        Ok(outcome)
    }

    fn wait(&self, systemd: &Systemd, unit: &str, command: &str) -> Result<(), StepError> {
        let mut waiting = |so_far: Duration| {
            let (seconds, limit) = (so_far.as_secs(), COMMAND_LIMIT.as_secs());
            let message =
                format!("still waiting for {command:?} on {unit:?} ({seconds} s, at most {limit} s)");
            self.settings.log.warning(message);
        };
        let result = systemd.run(unit, command, COMMAND_LIMIT, &mut waiting)?;
        self.info(format!("Result of {command:?} on {unit:?}: {result}"));
        match result.as_str() {
            "done" | "skipped" => Ok(()),
            result => Err(StepError(format!("the job's result is {result}"))),
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
