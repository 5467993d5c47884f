//! The way to the reboot: inhibitors, lock, drain, warning, request.

use std::time::Duration;

use super::events::{Acquired, Action, Config, Level, LockFailure};
use super::state::{Boot, Lock, Plan, State, Step};
use super::texts::{format_duration, spell_duration};
use super::transition::{Transition, time_until_window};
use crate::coordinator;
use crate::limits::{REBOOT_TIMEOUT, WINDOW_MARGIN};
use crate::strategy::Strategy;

impl Transition<'_> {
    pub fn on_inhibitors(&mut self, boot: Boot, plan: Option<Plan>, found: Vec<String>) -> State {
        let Some(mut plan) = plan else { return self.start_due(boot, None) };
        if found.is_empty() {
            plan.logged_inhibitors.clear();
            let Config { fleet_lock, strategy, .. } = self.config;
            if *strategy == Strategy::BestEffort && !fleet_lock {
                return self.begin(Action::CheckEtcd, Step::CheckingEtcd(boot), Some(plan));
            }
            return self.lock_if_needed(*fleet_lock || *strategy == Strategy::EtcdLock, boot, plan);
        }
        let delay = self.back_off(Some(&mut plan));
        if found != plan.logged_inhibitors {
            let (found, delay) = (found.join("; "), format_duration(delay));
            self.log(Level::Notice, format!("The reboot is inhibited: {found}. Retrying in {delay}."));
        }
        plan.logged_inhibitors = found;
        match boot {
            Boot::LockUnknown => self.release(Lock::Held(None), Some(plan)),
            boot => self.start_due(boot, Some(plan)),
        }
    }

    pub fn lock_if_needed(&mut self, needed: bool, boot: Boot, plan: Plan) -> State {
        if !needed {
            return self.proceed(Lock::NotHeld(boot), Some(plan));
        }
        let reason = match plan.version.as_str() {
            "" => "update".to_owned(),
            version => format!("update to {version}"),
        };
        self.begin(Action::Lock { reason }, Step::Locking(boot), Some(plan))
    }

    pub fn on_lock_result(
        &mut self,
        boot: Boot,
        mut plan: Option<Plan>,
        result: Result<Acquired, LockFailure>,
    ) -> State {
        let (boot, reason) = match (result, boot) {
            (Ok(Acquired::New), Boot::Unsettled(settle)) => {
                return self.proceed(Lock::Held(Some(settle)), plan);
            }
            (Ok(Acquired::New), _) | (Ok(_), Boot::LockUnknown) => {
                return self.proceed(Lock::Held(None), plan);
            }
            // Belongs to an earlier boot, which settling releases, or to an operator.
            (Ok(Acquired::AlreadyHeld), boot) => return self.proceed(Lock::NotHeld(boot), plan),
            (Err(LockFailure::Unknown(reason)), Boot::Settled) => (Boot::LockUnknown, reason),
            (Err(LockFailure::Unknown(reason) | LockFailure::Refused(reason)), boot) => (boot, reason),
        };
        let delay = format_duration(self.back_off(plan.as_mut()));
        self.log(Level::Warning, format!("Failed to acquire lock: {reason}. Retrying in {delay}."));
        self.start_due(boot, plan)
    }

    fn window_has_closed(&mut self) -> bool {
        let closed = time_until_window(self.config, self.now).is_some();
        if closed {
            self.log(Level::Notice, "The reboot window has closed.");
        }
        closed
    }

    /// The lock is held or not needed. Acquiring it may have taken hours, so the window is checked again.
    fn proceed(&mut self, lock: Lock, plan: Option<Plan>) -> State {
        let Some(plan) = plan else { return self.release(lock, None) };
        if self.window_has_closed() {
            return self.release(lock, Some(plan));
        }
        self.begin(Action::Drain, Step::Draining(lock), Some(plan))
    }

    pub fn on_drained(&mut self, lock: Lock, plan: Option<Plan>) -> State {
        let Some(plan) = plan else { return self.undrain(lock, None) };
        if self.window_has_closed() {
            return self.undrain(lock, Some(plan));
        }
        let text = format!("System reboot in {}!", spell_duration(self.login_delay()));
        self.begin(Action::Warn(text), Step::Warning(lock), Some(plan))
    }

    pub fn on_warned(&mut self, lock: Lock, plan: Option<Plan>, terminals: usize) -> State {
        let Some(plan) = plan else { return self.undrain(lock, None) };
        let delay = self.login_delay();
        if terminals == 0 || delay.is_zero() {
            return self.request_reboot(lock, plan);
        }
        self.log(Level::Notice, format!("Logins detected, delaying reboot for {}.", spell_duration(delay)));
        State::Delaying { until: self.now.monotonic + delay, lock, plan }
    }

    /// At most what is left of the window: a machine whose window is shorter than the delay would never reboot while
    /// somebody is logged in.
    fn login_delay(&self) -> Duration {
        let Config { login_delay, window, .. } = self.config;
        let remaining = window.as_ref().and_then(|window| window.remaining(&self.now.wall));
        let left = remaining.map(|time| Duration::from_secs(time.saturating_sub(WINDOW_MARGIN).as_secs()));
        left.map_or(*login_delay, |left| left.min(*login_delay))
    }

    /// Drain and login delay may have taken hours.
    pub fn request_reboot(&mut self, lock: Lock, plan: Plan) -> State {
        if self.window_has_closed() {
            return self.undrain(lock, Some(plan));
        }
        self.actions.extend([Action::SetState(coordinator::State::Rebooting), Action::Reboot]);
        State::RequestingReboot(lock, plan)
    }

    pub fn on_reboot_result(&mut self, lock: Lock, mut plan: Plan, result: Result<(), String>) -> State {
        let Err(reason) = result else {
            self.log(Level::Info, "Reboot sent. Going to sleep.");
            return State::Rebooting { until: self.now.monotonic + REBOOT_TIMEOUT };
        };
        let delay = format_duration(self.back_off(Some(&mut plan)));
        self.log(Level::Error, format!("The reboot was refused: {reason}. Retrying in {delay}."));
        self.actions.push(Action::SetState(coordinator::State::RebootPlanned));
        self.undrain(lock, Some(plan))
    }

    fn back_off(&mut self, plan: Option<&mut Plan>) -> Duration {
        let delay = self.double_backoff();
        if let Some(plan) = plan {
            plan.retry_at = self.now.monotonic + delay;
        }
        delay
    }
}
