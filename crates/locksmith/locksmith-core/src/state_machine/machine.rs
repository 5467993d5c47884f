//! The machine: one state, advanced by events.

use std::time::Duration;

use super::events::{Action, Clocks, Config, Event, Level};
use super::state::{Boot, Plan, Settle, State, Step};
use super::texts::{describe_window, log};
use super::transition::{Transition, time_until_window};
use crate::coordinator;
use crate::engine::SignalSender;
use crate::limits::WALL_CLOCK_POLL;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct StateMachine {
    pub(super) config: Config,
    pub(super) state: State,
    /// The current backoff of reboot attempts and rollbacks.
    backoff: Duration,
    /// An update engine has appeared before.
    engine_seen: bool,
}

impl StateMachine {
    /// The first event must be [`Event::Started`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let backoff = config.retry_interval;
        let state = State::Idle(Some(Settle::new(backoff, backoff)));
        Self { config, state, backoff, engine_seen: false }
    }

    /// Handles an event and returns the actions to run, in order.
    pub fn step(&mut self, now: &Clocks, event: Event) -> Vec<Action> {
        let (event, actions) = self.receive(now, event);
        let mut transition = Transition { config: &self.config, now, backoff: &mut self.backoff, actions };
        let state = std::mem::replace(&mut self.state, State::Idle(None));
        self.state = transition.next(state, event);
        transition.actions
    }

    /// What an event logs in every state. An engine that appears reports its status.
    fn receive(&mut self, now: &Clocks, event: Event) -> (Event, Vec<Action>) {
        match event {
            Event::Started => {
                let mut actions = describe_window(&self.config, now);
                actions.push(Action::SetState(coordinator::State::Running));
                (event, actions)
            }
            Event::EngineAppeared(status) => {
                let text = if std::mem::replace(&mut self.engine_seen, true) {
                    status.to_string()
                } else {
                    let (operation, strategy) = (&status.operation, self.config.strategy);
                    format!("locksmithd starting currentOperation={operation:?} strategy=\"{strategy}\"")
                };
                (Event::StatusUpdate(SignalSender::Engine, status), vec![log(Level::Info, text)])
            }
            Event::StatusUpdate(_, ref status) => {
                let line = log(Level::Info, status.to_string());
                (event, vec![line])
            }
            event => (event, Vec::new()),
        }
    }

    /// Whether logind's reply to a reboot request is pending.
    #[must_use]
    pub fn is_requesting_reboot(&self) -> bool {
        matches!(self.state, State::RequestingReboot(..))
    }

    /// The time until [`Event::Tick`] is due, if no other event comes first. `None`: never.
    #[must_use]
    pub fn timeout(&self, now: &Clocks) -> Option<Duration> {
        let until = match &self.state {
            State::Idle(settle) => settle.as_ref()?.at,
            State::Planned(Boot::Unsettled(settle), plan) => settle.at.min(self.next_attempt(now, plan)),
            State::Planned(_, plan) => self.next_attempt(now, plan),
            State::Delaying { until, .. }
            | State::Rebooting { until }
            | State::InProgress(Step::ReleaseBackoff { until, .. }, _) => *until,
            State::InProgress(..) | State::RequestingReboot(..) => return None,
        };
        Some(until.saturating_sub(now.monotonic))
    }

    /// When the pending request is checked again.
    fn next_attempt(&self, now: &Clocks, plan: &Plan) -> Duration {
        match time_until_window(&self.config, now) {
            Some(wait) => plan.retry_at.max(now.monotonic + wait.min(WALL_CLOCK_POLL)),
            None => plan.retry_at,
        }
    }
}
