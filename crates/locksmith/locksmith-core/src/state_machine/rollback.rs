//! Rollback of a reboot that is withdrawn, refused or too late: takes the units back, then releases the lock.

use std::time::Duration;

use super::events::{Action, Level};
use super::state::{Boot, Lock, Plan, Settle, State, Step};
use super::texts::format_duration;
use super::transition::Transition;

impl Transition<'_> {
    /// While this boot is unsettled the units stay away: settling takes them back once the machine is healthy.
    pub fn undrain(&mut self, lock: Lock, plan: Option<Plan>) -> State {
        if let Lock::Held(Some(_)) | Lock::NotHeld(Boot::Unsettled(_)) = lock {
            return self.release(lock, plan);
        }
        self.begin(Action::Undrain, Step::Undraining(lock), plan)
    }

    pub fn on_undrained(&mut self, lock: Lock, plan: Option<Plan>, result: Result<(), String>) -> State {
        let Err(reason) = result else { return self.release(lock, plan) };
        // Other machines wait for the lock; the next settling retries the undrain.
        self.log(Level::Error, format!("Taking units back failed: {reason}."));
        let settle = Settle::new(Duration::ZERO, self.config.retry_interval);
        self.release(lock.unsettle(settle), plan)
    }

    /// Releases the lock if it is held, and then continues with what is due.
    pub fn release(&mut self, lock: Lock, plan: Option<Plan>) -> State {
        match lock {
            Lock::Held(settle) => self.begin(Action::Release, Step::Releasing(settle), plan),
            Lock::NotHeld(boot) => self.start_due(boot, plan),
        }
    }

    pub fn on_released(
        &mut self,
        settle: Option<Settle>,
        plan: Option<Plan>,
        result: Result<bool, String>,
    ) -> State {
        let Err(reason) = result else {
            self.log(Level::Info, "Released the lock: this machine does not reboot now");
            return self.start_due(settle.into(), plan);
        };
        let delay = self.double_backoff();
        self.log(
            Level::Error,
            format!("Unlocking failed: {reason}. Retrying in {}.", format_duration(delay)),
        );
        State::InProgress(Step::ReleaseBackoff { until: self.now.monotonic + delay, settle }, plan)
    }
}
