//! A transition: takes a state and an event, returns the next state and collects the actions.

use std::time::Duration;

use super::events::{Action, Clocks, Config, Event, Exit, Level};
use super::state::{Boot, Lock, Plan, SettleStep, State, Step};
use super::texts::{format_duration, log};
use crate::coordinator;
use crate::engine::{EngineStatus, SignalSender};
use crate::limits::MAX_BACKOFF;
use crate::strategy::Strategy;

pub struct Transition<'a> {
    pub config: &'a Config,
    pub now: &'a Clocks,
    /// The backoff of reboot attempts and rollbacks.
    pub backoff: &'a mut Duration,
    pub actions: Vec<Action>,
}

/// `None` if the window is open or none is configured.
pub fn time_until_window(config: &Config, now: &Clocks) -> Option<Duration> {
    let window = config.window.as_ref()?;
    if window.is_open(&now.wall) {
        return None;
    }
    let next = window.next(&now.wall)?;
    // Never zero: the window is still closed.
    Some(next.start.duration_since(&now.wall).unsigned_abs().max(Duration::from_millis(1)))
}

pub fn double_backoff(backoff: Duration) -> Duration {
    backoff.saturating_mul(2).min(MAX_BACKOFF)
}

impl Transition<'_> {
    pub fn next(&mut self, state: State, event: Event) -> State {
        match (state, event) {
            (State::Idle(settle), event) => self.on_waiting(settle.into(), None, event),
            (State::Planned(boot, plan), event) => self.on_waiting(boot, Some(plan), event),
            (State::InProgress(step, plan), Event::StatusUpdate(sender, status)) => {
                State::InProgress(step, self.on_status(plan, sender, status))
            }
            (State::InProgress(step, plan), event) => self.on_completion(step, plan, event),
            (State::Delaying { until, lock, plan }, Event::StatusUpdate(sender, status)) => {
                match self.on_status(Some(plan), sender, status) {
                    Some(plan) => State::Delaying { until, lock, plan },
                    None => self.undrain(lock, None),
                }
            }
            (State::Delaying { until, lock, plan }, Event::Tick) if self.now.monotonic >= until => {
                self.request_reboot(lock, plan)
            }
            (State::RequestingReboot(lock, mut plan), Event::StatusUpdate(sender, status)) => {
                if status.needs_reboot() {
                    plan.repeat(sender, status.new_version);
                }
                State::RequestingReboot(lock, plan)
            }
            (State::RequestingReboot(lock, plan), Event::RebootSent(result)) => {
                self.on_reboot_result(lock, plan, result)
            }
            (State::Rebooting { until }, Event::Tick) if self.now.monotonic >= until => {
                self.log(Level::Error, "Tried to reboot but did not!");
                self.actions.push(Action::Exit(Exit::Failure));
                State::Rebooting { until }
            }
            (state, _) => state,
        }
    }

    fn on_waiting(&mut self, boot: Boot, plan: Option<Plan>, event: Event) -> State {
        let plan = match event {
            Event::StatusUpdate(sender, status) => self.on_status(plan, sender, status),
            _ => plan,
        };
        self.start_due(boot, plan)
    }

    /// Makes, repeats or withdraws the request.
    fn on_status(&mut self, plan: Option<Plan>, sender: SignalSender, status: EngineStatus) -> Option<Plan> {
        if self.config.strategy == Strategy::Off {
            return None;
        }
        match plan {
            None if status.needs_reboot() => {
                *self.backoff = self.config.retry_interval;
                self.actions.push(Action::SetState(coordinator::State::RebootPlanned));
                Some(Plan::new(sender, status.new_version))
            }
            Some(mut plan) if status.needs_reboot() => {
                plan.repeat(sender, status.new_version);
                Some(plan)
            }
            Some(Plan { sender: SignalSender::Engine, .. }) if sender == SignalSender::Engine => {
                *self.backoff = self.config.retry_interval;
                let text = format!("The reboot is called off: the update agent is at {}", status.operation);
                self.log(Level::Notice, text);
                self.actions.push(Action::SetState(coordinator::State::Running));
                None
            }
            plan => plan,
        }
    }

    /// Completes the step. Completions that do not match it are late and ignored.
    fn on_completion(&mut self, step: Step, plan: Option<Plan>, event: Event) -> State {
        match (step, event) {
            (Step::Settling(step, settle), event) => self.on_settling(step, settle, plan, event),
            (Step::ListingInhibitors(boot), Event::Inhibitors(found)) => {
                self.on_inhibitors(boot, plan, found)
            }
            (Step::CheckingEtcd(boot), Event::EtcdRunning(here)) => match plan {
                Some(plan) => self.lock_if_needed(here, boot, plan),
                // Withdrawn: other machines may need the lock.
                None => self.start_due(boot, None),
            },
            (Step::Locking(boot), Event::Locked(result)) => self.on_lock_result(boot, plan, result),
            (Step::Draining(lock), Event::Drained) => self.on_drained(lock, plan),
            (Step::Warning(lock), Event::Warned(terminals)) => self.on_warned(lock, plan, terminals),
            (Step::Undraining(lock), Event::Undrained(result)) => self.on_undrained(lock, plan, result),
            (Step::Releasing(settle), Event::Released(result)) => self.on_released(settle, plan, result),
            (Step::ReleaseBackoff { until, settle }, Event::Tick) if self.now.monotonic >= until => {
                self.release(Lock::Held(settle), plan)
            }
            (step, _) => State::InProgress(step, plan),
        }
    }

    /// Nothing is in progress: starts what is due.
    pub fn start_due(&mut self, boot: Boot, plan: Option<Plan>) -> State {
        let boot = match boot {
            Boot::Unsettled(settle) if settle.at <= self.now.monotonic => {
                let step = Step::Settling(SettleStep::CheckingHealth, settle);
                return self.begin(Action::CheckHealth, step, plan);
            }
            boot => boot,
        };
        let wait = time_until_window(self.config, self.now);
        let (boot, mut plan) = match (boot, plan) {
            (Boot::Unsettled(settle), None) => return State::Idle(Some(settle)),
            (Boot::Settled, None) => return State::Idle(None),
            (Boot::LockUnknown, None) => return self.release(Lock::Held(None), None),
            // A lock held until the next window would block all other machines.
            (Boot::LockUnknown, plan) if wait.is_some() => return self.release(Lock::Held(None), plan),
            (boot, Some(plan)) => (boot, plan),
        };
        if plan.retry_at > self.now.monotonic {
            return State::Planned(boot, plan);
        }
        if let Some(wait) = wait {
            if !std::mem::replace(&mut plan.window_wait_logged, true) {
                self.log(Level::Info, format!("Waiting for {} to reboot.", format_duration(wait)));
            }
            return State::Planned(boot, plan);
        }
        plan.window_wait_logged = false;
        self.begin(Action::ListInhibitors, Step::ListingInhibitors(boot), Some(plan))
    }

    pub fn begin(&mut self, action: Action, step: Step, plan: Option<Plan>) -> State {
        self.actions.push(action);
        State::InProgress(step, plan)
    }

    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.actions.push(log(level, text));
    }

    pub fn double_backoff(&mut self) -> Duration {
        *self.backoff = double_backoff(*self.backoff);
        *self.backoff
    }
}
