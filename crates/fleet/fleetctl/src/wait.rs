//! Waits until units have reached their desired state.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::{JobState, Unit, UnitState};

use crate::failure::Failure;
use crate::legend::Machines;
use crate::notices::{NOTICE_DELAY, Notices};
use crate::reason::{Reason, reason};
use crate::registry::Registry;
use crate::stdout::print;

pub const NO_BLOCK: Flag = Flag::switch("no-block", "do not wait until the units reach the state");
pub const BLOCK_ATTEMPTS: Flag = Flag::new(
    "block-attempts",
    ValueKind::Integer,
    "number of attempts, each 0.5 seconds, before the wait fails; 0 means no limit",
)
.default("0");
pub const WAIT_ACTIVE: Flag = Flag::new(
    "wait-active",
    ValueKind::OptionalNumber,
    "also wait until systemd reports the units as active, at most this number of seconds",
);

/// Duration of one attempt of `--block-attempts`.
const ATTEMPT_DURATION: Duration = Duration::from_millis(500);

/// The poll interval is the time waited so far, divided by this: a change is detected after at most 1/8 more time.
/// Most units need a few tenths of a second.
const BACKOFF_DIVISOR: u32 = 8;
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Without `--block-attempts`, the wait ends when all units are blocked for this time.
const BLOCKED_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of explanations that are requested at each poll.
const EXPLAINED_PER_POLL: usize = 10;

/// A unit and the state that it is to reach.
#[derive(Debug, Clone)]
pub struct Goal {
    pub name: String,
    pub state: JobState,
    /// Hash of the contents that the machine must report, 40 hex digits.
    pub hash: Option<String>,
}

/// How long to wait, and whether to wait for systemd.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitOptions {
    limit: Option<Duration>,
    /// Whether to wait until the units are active, and for how long; `Some(None)` has no limit.
    active: Option<Option<Duration>>,
}

impl WaitOptions {
    pub fn from_args(args: &ParsedArgs) -> WaitOptions {
        let attempts = args.integer(BLOCK_ATTEMPTS.name()).filter(|attempts| *attempts > 0);
        let attempts = attempts.map(|attempts| u32::try_from(attempts).unwrap_or(u32::MAX));
        let active = args.text(WAIT_ACTIVE.name()).map(|text| text.parse().ok().map(Duration::from_secs));
        WaitOptions { limit: attempts.map(|attempts| ATTEMPT_DURATION.saturating_mul(attempts)), active }
    }

    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }
}

/// Waits for all goals and prints each that is reached. An unreachable server is polled again.
pub async fn wait_for_units(
    registry: &Registry,
    goals: Vec<Goal>,
    options: WaitOptions,
) -> Result<(), Failure> {
    let mut waiter = Waiter::new(registry, false);
    let all = goals.clone();
    let pending = waiter.wait_for_states(goals, options.limit).await?;
    waiter.fail_if_pending(&pending, options.limit)?;
    match options.active {
        None => Ok(()),
        Some(limit) => waiter.wait_for_active(all, limit).await,
    }
}

/// Waits for all goals without printing those that are reached.
pub async fn wait_quietly(
    registry: &Registry,
    goals: Vec<Goal>,
    options: WaitOptions,
) -> Result<(), Failure> {
    let mut waiter = Waiter::new(registry, true);
    let pending = waiter.wait_for_states(goals, options.limit).await?;
    waiter.fail_if_pending(&pending, options.limit)
}

struct Waiter<'a> {
    registry: &'a Registry,
    machines: Machines,
    started: Instant,
    notices: Notices,
    /// When each unit was last explained.
    explained: BTreeMap<String, Instant>,
    blocked: BTreeMap<String, Blocked>,
    quiet: bool,
}

/// A unit that cannot make progress.
struct Blocked {
    since: Instant,
    reason: Reason,
}

/// Polls at growing intervals until an optional deadline.
struct Polling {
    started: Instant,
    end: Option<Instant>,
}

impl Polling {
    fn with_deadline(end: Option<Instant>) -> Self {
        Self { started: Instant::now(), end }
    }

    /// Sleeps until the next poll. Returns false once the deadline has passed.
    async fn next(&self) -> bool {
        let interval = poll_interval(self.started.elapsed());
        let left = self.end.map_or(interval, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(interval.min(left)).await;
        true
    }
}

fn poll_interval(waited: Duration) -> Duration {
    (waited / BACKOFF_DIVISOR).clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL)
}

impl Waiter<'_> {
    fn new(registry: &Registry, quiet: bool) -> Waiter<'_> {
        let (explained, blocked, notices) = (BTreeMap::new(), BTreeMap::new(), Notices::new());
        let machines = Machines::default();
        Waiter { registry, machines, started: Instant::now(), notices, explained, blocked, quiet }
    }

    /// Returns the goals that are not reached in time.
    async fn wait_for_states(
        &mut self,
        mut goals: Vec<Goal>,
        limit: Option<Duration>,
    ) -> Result<Vec<Goal>, Failure> {
        let polling = Polling::with_deadline(limit.map(|limit| self.started + limit));
        while !goals.is_empty() {
            let names: Vec<&str> = goals.iter().map(|goal| goal.name.as_str()).collect();
            match self.registry.units_named(&names).await {
                Ok(units) => {
                    self.notices.report_available();
                    goals = self.pending_goals(goals, &units).await?;
                    self.explain_pending(&goals, &units, limit).await;
                }
                Err(error) => self.notices.report_unavailable(&error)?,
            }
            let blocked = limit.is_none() && goals.iter().all(|goal| self.is_blocked(goal));
            if !goals.is_empty() && (blocked || !polling.next().await) {
                break;
            }
        }
        Ok(goals)
    }

    /// Announces the goals that are reached and returns the others.
    async fn pending_goals(&mut self, goals: Vec<Goal>, units: &[Unit]) -> Result<Vec<Goal>, Failure> {
        let mut pending = Vec::new();
        for goal in goals {
            let Some(unit) = units.iter().find(|unit| unit.name == goal.name) else {
                return Err(Failure::new(format!(
                    "Error waiting for units: unit {} does not exist any more",
                    goal.name
                )));
            };
            if self.is_reached(&goal, unit).await {
                self.announce(&goal, unit).await?;
            } else {
                pending.push(goal);
            }
        }
        Ok(pending)
    }

    /// Explains up to [`EXPLAINED_PER_POLL`] units, least recently explained first.
    async fn explain_pending(&mut self, goals: &[Goal], units: &[Unit], limit: Option<Duration>) {
        if self.started.elapsed() < NOTICE_DELAY {
            return;
        }
        let mut due: Vec<&Goal> = goals.iter().collect();
        due.sort_by_key(|goal| self.explained.get(&goal.name).copied());
        for goal in due.into_iter().take(EXPLAINED_PER_POLL) {
            if let Some(unit) = units.iter().find(|unit| unit.name == goal.name) {
                self.explain(goal, unit, limit).await;
                self.explained.insert(goal.name.clone(), Instant::now());
            }
        }
    }

    async fn is_reached(&self, goal: &Goal, unit: &Unit) -> bool {
        if unit.current_state != goal.state.as_str() {
            return false;
        }
        if goal.hash.is_none() && goal.state != JobState::Inactive {
            return true;
        }
        let Ok(states) = self.registry.states_of(&unit.name).await else { return false };
        match &goal.hash {
            Some(hash) => states
                .iter()
                .any(|state| state.machine_id == unit.machine_id && state.hash.eq_ignore_ascii_case(hash)),
            // The target is removed immediately; the machine may still be stopping the unit.
            None => states.iter().all(is_down),
        }
    }

    async fn announce(&mut self, goal: &Goal, unit: &Unit) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        let Goal { name, state, .. } = goal;
        if *state == JobState::Inactive || unit.machine_id.is_empty() {
            return print(&format!("Unit {name} {state}\n"));
        }
        let legend = self.legend(&unit.machine_id).await;
        print(&format!("Unit {name} {state} on {legend}\n"))
    }

    async fn legend(&mut self, machine: &str) -> String {
        if self.machines.get(machine).is_none()
            && let Ok(list) = self.registry.machines().await
        {
            self.machines = Machines::new(list);
        }
        self.machines.legend(machine, false)
    }

    /// Prints the reason why the goal is not reached, if it has changed.
    async fn explain(&mut self, goal: &Goal, unit: &Unit, limit: Option<Duration>) {
        if goal.state == JobState::Inactive {
            return self.report(&goal.name, "its machine has not stopped it yet", limit);
        }
        if self.machines.get(&unit.machine_id).is_none()
            && let Ok(list) = self.registry.machines().await
        {
            self.machines = Machines::new(list);
        }
        let reason = reason(self.registry, &self.machines, unit).await;
        self.report(&goal.name, &reason.text, limit);
        if reason.blocked {
            let since = self.blocked.get(&goal.name).map_or_else(Instant::now, |blocked| blocked.since);
            self.blocked.insert(goal.name.clone(), Blocked { since, reason });
        } else {
            self.blocked.remove(&goal.name);
        }
    }

    fn report(&mut self, name: &str, text: &str, limit: Option<Duration>) {
        self.notices.report(name, text, |is_first| {
            let until = match limit {
                _ if !is_first => String::new(),
                Some(limit) => format!(" (for at most {} s)", limit.as_secs()),
                None => " (until ctrl-C, which takes nothing back)".to_owned(),
            };
            format!("Waiting for unit {name}{until}: {text}")
        });
    }

    fn is_blocked(&self, goal: &Goal) -> bool {
        self.blocked.get(&goal.name).is_some_and(|blocked| blocked.since.elapsed() >= BLOCKED_TIMEOUT)
    }

    /// The failure for goals that are not reached.
    fn fail_if_pending(&self, pending: &[Goal], limit: Option<Duration>) -> Result<(), Failure> {
        if pending.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for Goal { name, state, .. } in pending {
            let blocked = self.blocked.get(name);
            let Some(Blocked { reason, .. }) = blocked.filter(|_| limit.is_none()) else {
                let timed_out = format!("timed out waiting for unit {name} to report state {state}");
                lines.push(format!("Error waiting for units: {timed_out}"));
                lines.extend(blocked.map(|blocked| blocked.reason.text.clone()));
                continue;
            };
            lines.push(format!("Error waiting for units: unit {name} is not {state}: {}", reason.text));
            lines.extend(reason.hints.iter().map(|hint| format!("hint: {hint}")));
            lines.push(format!(
                "hint: its target state is unchanged; `fleetctl unload --no-block {name}` withdraws it"
            ));
        }
        Err(Failure::new(lines.join("\n")))
    }

    async fn wait_for_active(&mut self, goals: Vec<Goal>, limit: Option<Duration>) -> Result<(), Failure> {
        let polling = Polling::with_deadline(limit.map(|limit| Instant::now() + limit));
        let mut left = goals;
        loop {
            let mut inactive = Vec::new();
            for goal in left {
                if !self.is_active(&goal.name, limit).await? {
                    inactive.push(goal);
                }
            }
            left = inactive;
            let Some(first) = left.first() else { return Ok(()) };
            if !polling.next().await {
                return Err(Failure::new(format!(
                    "Error waiting for units: timed out waiting for unit {} to be active",
                    first.name
                )));
            }
        }
    }

    /// Whether the unit is active on some machine. Fails if it failed on one.
    async fn is_active(&mut self, name: &str, limit: Option<Duration>) -> Result<bool, Failure> {
        let states = match self.registry.states_of(name).await {
            Ok(states) => states,
            Err(error) => {
                self.notices.report_unavailable(&error)?;
                return Ok(false);
            }
        };
        self.notices.report_available();
        if let Some(failed) = states.iter().find(|state| state.systemd_active_state == "failed") {
            let legend = self.legend(&failed.machine_id).await;
            return Err(Failure::new(format!(
                "Error waiting for units: unit {name} failed on {legend} ({} {} {})",
                failed.systemd_load_state, failed.systemd_active_state, failed.systemd_sub_state
            )));
        }
        let active = |state: &UnitState| {
            state.systemd_active_state == "active" && state.systemd_load_state == "loaded"
        };
        if states.iter().any(active) {
            return Ok(true);
        }
        let text = match states.first() {
            None => "its machine has not reported it yet".to_owned(),
            Some(state) => format!(
                "on {}: {} {}",
                self.legend(&state.machine_id).await,
                state.systemd_active_state,
                state.systemd_sub_state
            ),
        };
        self.report(name, &text, limit);
        Ok(false)
    }
}

fn is_down(state: &UnitState) -> bool {
    matches!(state.systemd_active_state.as_str(), "inactive" | "failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of polls within this time if requests take no time.
    fn polls(within: Duration) -> usize {
        let mut waited = Duration::ZERO;
        let polling = std::iter::repeat_with(|| {
            waited += poll_interval(waited);
            waited
        });
        1 + polling.take_while(|waited| *waited < within).count()
    }

    #[test]
    fn poll_intervals_grow() {
        assert_eq!(poll_interval(Duration::ZERO), Duration::from_millis(20));
        assert_eq!(poll_interval(Duration::from_millis(400)), Duration::from_millis(50));
        assert_eq!(poll_interval(Duration::from_secs(3600)), Duration::from_millis(500));
        assert_eq!(polls(Duration::from_millis(200)), 10);
        assert_eq!(polls(Duration::from_secs(1)), 24);
        assert_eq!(polls(Duration::from_secs(60)), 148);
    }
}
