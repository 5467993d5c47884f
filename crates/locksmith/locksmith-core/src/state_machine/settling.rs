//! Settling: takes the units back and releases what an earlier boot or daemon left, once healthy.

use super::events::{Action, Event, Exit, Level};
use super::state::{Boot, Plan, Settle, SettleStep, State, Step};
use super::texts::format_duration;
use super::transition::{Transition, double_backoff};
use crate::strategy::Strategy;

const RELEASE: (Action, SettleStep) = (Action::Release, SettleStep::Releasing);

impl Transition<'_> {
    pub fn on_settling(
        &mut self,
        step: SettleStep,
        settle: Settle,
        plan: Option<Plan>,
        event: Event,
    ) -> State {
        let (action, next) = match (step, event) {
            (SettleStep::CheckingHealth, Event::Health(Ok(()))) => (Action::Undrain, SettleStep::Undraining),
            (SettleStep::CheckingHealth, Event::Health(Err(reason))) => {
                return self.on_unhealthy(settle, plan, reason);
            }
            (SettleStep::Undraining, Event::Undrained(Ok(()))) => match self.config.strategy {
                _ if self.config.fleet_lock || self.config.may_hold_lock => RELEASE,
                Strategy::EtcdLock => RELEASE,
                Strategy::BestEffort => (Action::CheckEtcd, SettleStep::CheckingEtcd),
                Strategy::Reboot | Strategy::Off => return self.finish_settling(plan),
            },
            (SettleStep::Undraining, Event::Undrained(Err(reason))) => {
                return self.retry_settling(
                    settle,
                    plan,
                    Some(format!("Taking units back failed: {reason}.")),
                );
            }
            (SettleStep::CheckingEtcd, Event::EtcdRunning(true)) => RELEASE,
            // An etcd may still be started.
            (SettleStep::CheckingEtcd, Event::EtcdRunning(false)) => {
                return self.retry_settling(settle, plan, None);
            }
            (SettleStep::Releasing, Event::Released(Ok(held))) => {
                if held {
                    self.log(Level::Info, "Unlocked existing lock for this machine");
                }
                return self.finish_settling(plan);
            }
            (SettleStep::Releasing, Event::Released(Err(reason))) => {
                let text = format!("Unlocking old locks failed: {reason}.");
                return self.retry_settling(settle, plan, Some(text));
            }
            (step, _) => return State::InProgress(Step::Settling(step, settle), plan),
        };
        self.begin(action, Step::Settling(next, settle), plan)
    }

    fn on_unhealthy(&mut self, mut settle: Settle, plan: Option<Plan>, reason: String) -> State {
        settle.at = self.now.monotonic + self.config.retry_interval;
        if settle.logged_reason != reason {
            let text = format!("Not healthy yet, so the lock and the units stay as they are: {reason}");
            self.log(Level::Notice, text);
            settle.logged_reason = reason;
        }
        self.start_due(Boot::Unsettled(settle), plan)
    }

    fn finish_settling(&mut self, plan: Option<Plan>) -> State {
        if self.config.strategy == Strategy::Off {
            self.actions.push(Action::Exit(Exit::Success));
        }
        self.start_due(Boot::Settled, plan)
    }

    fn retry_settling(&mut self, mut settle: Settle, plan: Option<Plan>, failed: Option<String>) -> State {
        settle.backoff = double_backoff(settle.backoff);
        settle.at = self.now.monotonic + settle.backoff;
        if let Some(text) = failed {
            self.log(Level::Error, format!("{text} Retrying in {}.", format_duration(settle.backoff)));
        }
        self.start_due(Boot::Unsettled(settle), plan)
    }
}
