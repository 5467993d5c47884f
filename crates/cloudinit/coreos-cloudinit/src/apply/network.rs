//! Prepares interfaces before networkd reads their files.

use host::{Outcome, program};

use super::context::{ApplyContext, StepResult};

impl ApplyContext<'_> {
    /// An interface that cannot be set down does not keep the others from being configured.
    pub(super) fn interface_down(&mut self, name: &str) -> StepResult {
        if !self.may_run(&format!("setting {name} down")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Taking down interface {name:?}"));
        match program::run("ip", &["link", "set", "dev", name, "down"], "") {
            Ok(()) => {
                // networkd must bring the interface back up even if its file did not change.
                self.network_changed = true;
                Ok(Outcome::Changed)
            }
            Err(error) => {
                self.settings.log.warning(format!(
                    "Warning: interface {name:?} cannot be set down: {}",
                    service::error::chain(&error)
                ));
                Ok(Outcome::Unchanged)
            }
        }
    }

    pub(super) fn modprobe(&self, arguments: &[String]) -> StepResult {
        if !self.may_run(&format!("modprobe {}", arguments.join(" "))) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Probing kernel module {:?}", arguments.join(" ")));
        program::run("modprobe", arguments, "")?;
        Ok(Outcome::Changed)
    }
}
