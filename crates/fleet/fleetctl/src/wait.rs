//! Waiting until units are in the state that was asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::{JobState, Unit, UnitState};

use crate::failure::Failure;
use crate::legend::Machines;
use crate::notices::{Notices, SILENCE};
use crate::reason::{Reason, reason};
use crate::registry::Registry;
use crate::stdout::say;

pub const NO_BLOCK: Flag = Flag::switch("no-block", "do not wait until it is done");
pub const BLOCK_ATTEMPTS: Flag =
    Flag::new("block-attempts", ValueKind::Integer, "give up after so many half seconds; 0 for never")
        .default("0");
pub const WAIT_ACTIVE: Flag = Flag::new(
    "wait-active",
    ValueKind::OptionalNumber,
    "wait until systemd says active too, at most so many seconds",
);

/// What one attempt of `--block-attempts` stands for.
const ATTEMPT: Duration = Duration::from_millis(500);

/// A pause is this part of what was waited already: nothing is seen later than by so much, and looks get rarer. Most
/// units are there after a few tenths of a second.
const PART: u32 = 8;
/// A server is asked fifty times in a second at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A unit that stays blocked for so long is not waited for, unless a limit says until when.
const BLOCKED: Duration = Duration::from_secs(5);
/// Units that are explained at a time, of those that are waited for.
const EXPLAINED: usize = 10;

/// What is waited for.
#[derive(Debug, Clone)]
pub struct Goal {
    pub name: String,
    pub state: JobState,
    /// The text that its machine must have by then, 40 hex digits.
    pub hash: Option<String>,
}

/// For how long, and for what besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    limit: Option<Duration>,
    /// `Some(None)`: until it is active, without limit.
    active: Option<Option<Duration>>,
}

impl Patience {
    pub fn of(given: &ParsedArgs) -> Patience {
        let attempts = given.integer(BLOCK_ATTEMPTS.name()).filter(|attempts| *attempts > 0);
        let attempts = attempts.map(|attempts| u32::try_from(attempts).unwrap_or(u32::MAX));
        let active = given.text(WAIT_ACTIVE.name()).map(|text| text.parse().ok().map(Duration::from_secs));
        Patience { limit: attempts.map(|attempts| ATTEMPT.saturating_mul(attempts)), active }
    }

    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }
}

/// Waits for all, and says of each when it is there. A server that does not answer for a while is no failure.
pub async fn until(registry: &Registry, goals: Vec<Goal>, patience: Patience) -> Result<(), Failure> {
    let mut watch = Watch::new(registry, false);
    let all = goals.clone();
    let late = watch.for_states(goals, patience.limit).await?;
    watch.fail_for(&late, patience.limit)?;
    match patience.active {
        None => Ok(()),
        Some(limit) => watch.for_activity(all, limit).await,
    }
}

/// Waits for all, and says nothing when they are there.
pub async fn quietly(registry: &Registry, goals: Vec<Goal>, patience: Patience) -> Result<(), Failure> {
    let mut watch = Watch::new(registry, true);
    let late = watch.for_states(goals, patience.limit).await?;
    watch.fail_for(&late, patience.limit)
}

struct Watch<'a> {
    registry: &'a Registry,
    machines: Machines,
    begin: Instant,
    notices: Notices,
    /// When each unit was last explained.
    explained: BTreeMap<String, Instant>,
    blocked: BTreeMap<String, Blocked>,
    quiet: bool,
}

/// A unit that comes no further by itself.
struct Blocked {
    since: Instant,
    reason: Reason,
}

/// Between looks, from when the first one was made.
struct Pauses {
    begin: Instant,
    end: Option<Instant>,
}

impl Pauses {
    fn until(end: Option<Instant>) -> Self {
        Self { begin: Instant::now(), end }
    }

    /// Sleeps, but not beyond the end; whether there was time left.
    async fn next(&self) -> bool {
        let pause = pause_after(self.begin.elapsed());
        let left = self.end.map_or(pause, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(pause.min(left)).await;
        true
    }
}

fn pause_after(waited: Duration) -> Duration {
    (waited / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

impl Watch<'_> {
    fn new(registry: &Registry, quiet: bool) -> Watch<'_> {
        let (explained, blocked, notices) = (BTreeMap::new(), BTreeMap::new(), Notices::new());
        let machines = Machines::default();
        Watch { registry, machines, begin: Instant::now(), notices, explained, blocked, quiet }
    }

    /// Gives those that are not there in time.
    async fn for_states(
        &mut self,
        mut goals: Vec<Goal>,
        limit: Option<Duration>,
    ) -> Result<Vec<Goal>, Failure> {
        let pauses = Pauses::until(limit.map(|limit| self.begin + limit));
        while !goals.is_empty() {
            let names: Vec<&str> = goals.iter().map(|goal| goal.name.as_str()).collect();
            match self.registry.units_named(&names).await {
                Ok(units) => {
                    self.notices.answered();
                    goals = self.late_ones(goals, &units).await?;
                    self.explain_some(&goals, &units, limit).await;
                }
                Err(error) => self.notices.no_answer(&error)?,
            }
            let hopeless = limit.is_none() && goals.iter().all(|goal| self.is_hopeless(goal));
            if !goals.is_empty() && (hopeless || !pauses.next().await) {
                break;
            }
        }
        Ok(goals)
    }

    /// Announces units that are in their state, and gives the others.
    async fn late_ones(&mut self, goals: Vec<Goal>, units: &[Unit]) -> Result<Vec<Goal>, Failure> {
        let mut late = Vec::new();
        for goal in goals {
            let Some(unit) = units.iter().find(|unit| unit.name == goal.name) else {
                return Err(Failure::new(format!(
                    "Error waiting for units: unit {} does not exist any more",
                    goal.name
                )));
            };
            if self.is_there(&goal, unit).await {
                self.announce(&goal, unit).await?;
            } else {
                late.push(goal);
            }
        }
        Ok(late)
    }

    /// Explains [`EXPLAINED`] units, those first that were not explained for the longest time.
    async fn explain_some(&mut self, goals: &[Goal], units: &[Unit], limit: Option<Duration>) {
        if self.begin.elapsed() < SILENCE {
            return;
        }
        let mut due: Vec<&Goal> = goals.iter().collect();
        due.sort_by_key(|goal| self.explained.get(&goal.name).copied());
        for goal in due.into_iter().take(EXPLAINED) {
            if let Some(unit) = units.iter().find(|unit| unit.name == goal.name) {
                self.explain(goal, unit, limit).await;
                self.explained.insert(goal.name.clone(), Instant::now());
            }
        }
    }

    async fn is_there(&self, goal: &Goal, unit: &Unit) -> bool {
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
            return say(&format!("Unit {name} {state}\n"));
        }
        let legend = self.legend(&unit.machine_id).await;
        say(&format!("Unit {name} {state} on {legend}\n"))
    }

    async fn legend(&mut self, machine: &str) -> String {
        if self.machines.get(machine).is_none()
            && let Ok(list) = self.registry.machines().await
        {
            self.machines = Machines::new(list);
        }
        self.machines.legend(machine, false)
    }

    /// Says what is waited for, where that is news.
    async fn explain(&mut self, goal: &Goal, unit: &Unit, limit: Option<Duration>) {
        if goal.state == JobState::Inactive {
            return self.tell(&goal.name, "its machine has not stopped it yet", limit);
        }
        if self.machines.get(&unit.machine_id).is_none()
            && let Ok(list) = self.registry.machines().await
        {
            self.machines = Machines::new(list);
        }
        let reason = reason(self.registry, &self.machines, unit).await;
        self.tell(&goal.name, &reason.text, limit);
        if reason.blocked {
            let since = self.blocked.get(&goal.name).map_or_else(Instant::now, |blocked| blocked.since);
            self.blocked.insert(goal.name.clone(), Blocked { since, reason });
        } else {
            self.blocked.remove(&goal.name);
        }
    }

    fn tell(&mut self, name: &str, text: &str, limit: Option<Duration>) {
        self.notices.tell(name, text, |is_first| {
            let until = match limit {
                _ if !is_first => String::new(),
                Some(limit) => format!(" (for at most {} s)", limit.as_secs()),
                None => " (until ctrl-C, which takes nothing back)".to_owned(),
            };
            format!("Waiting for unit {name}{until}: {text}")
        });
    }

    fn is_hopeless(&self, goal: &Goal) -> bool {
        self.blocked.get(&goal.name).is_some_and(|blocked| blocked.since.elapsed() >= BLOCKED)
    }

    /// What is said of units that were waited for in vain.
    fn fail_for(&self, late: &[Goal], limit: Option<Duration>) -> Result<(), Failure> {
        if late.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for Goal { name, state, .. } in late {
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
                "hint: it stays asked for; `fleetctl unload --no-block {name}` takes that back"
            ));
        }
        Err(Failure::new(lines.join("\n")))
    }

    async fn for_activity(&mut self, goals: Vec<Goal>, limit: Option<Duration>) -> Result<(), Failure> {
        let pauses = Pauses::until(limit.map(|limit| Instant::now() + limit));
        let mut left = goals;
        loop {
            let mut still = Vec::new();
            for goal in left {
                if !self.is_active(&goal.name, limit).await? {
                    still.push(goal);
                }
            }
            left = still;
            let Some(first) = left.first() else { return Ok(()) };
            if !pauses.next().await {
                return Err(Failure::new(format!(
                    "Error waiting for units: timed out waiting for unit {} to be active",
                    first.name
                )));
            }
        }
    }

    /// On some machine. One where it failed ends the wait.
    async fn is_active(&mut self, name: &str, limit: Option<Duration>) -> Result<bool, Failure> {
        let states = match self.registry.states_of(name).await {
            Ok(states) => states,
            Err(error) => {
                self.notices.no_answer(&error)?;
                return Ok(false);
            }
        };
        self.notices.answered();
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
        let said = match states.first() {
            None => "its machine has not reported it yet".to_owned(),
            Some(state) => format!(
                "on {}: {} {}",
                self.legend(&state.machine_id).await,
                state.systemd_active_state,
                state.systemd_sub_state
            ),
        };
        self.tell(name, &said, limit);
        Ok(false)
    }
}

fn is_down(state: &UnitState) -> bool {
    matches!(state.systemd_active_state.as_str(), "inactive" | "failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often is looked within this time, if each look takes none.
    fn looks(within: Duration) -> usize {
        let mut waited = Duration::ZERO;
        let pauses = std::iter::repeat_with(|| {
            waited += pause_after(waited);
            waited
        });
        1 + pauses.take_while(|waited| *waited < within).count()
    }

    #[test]
    fn looks_are_frequent_at_first_and_never_many() {
        assert_eq!(pause_after(Duration::ZERO), Duration::from_millis(20));
        assert_eq!(pause_after(Duration::from_millis(400)), Duration::from_millis(50));
        assert_eq!(pause_after(Duration::from_secs(3600)), Duration::from_millis(500));
        assert_eq!(looks(Duration::from_millis(200)), 10);
        assert_eq!(looks(Duration::from_secs(1)), 24);
        assert_eq!(looks(Duration::from_secs(60)), 148);
    }
}
