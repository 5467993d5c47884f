//! Waiting until units are in the state that was asked for.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use command_line::{Flag, Given, Takes};
use fleet_api::{JobState, Unit};

use crate::failure::Failure;
use crate::legend::Machines;
use crate::registry::Registry;
use crate::stdout::say;

pub const NO_BLOCK: Flag = Flag::switch("no-block", "do not wait until it is done");
pub const BLOCK_ATTEMPTS: Flag =
    Flag::new("block-attempts", Takes::Integer, "give up after so many half seconds; 0 for never")
        .default("0");
pub const WAIT_ACTIVE: Flag = Flag::new(
    "wait-active",
    Takes::PerhapsNumber,
    "wait till systemd says active too, at most so many seconds",
);

/// What one attempt of `--block-attempts` stands for.
const ATTEMPT: Duration = Duration::from_millis(500);

/// A pause is this part of what was waited already: nothing is seen later than by so much, and looks get rarer. Most
/// units are there after a few tenths of a second.
const PART: u32 = 8;
/// A server is asked fifty times in a second at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// After this time somebody at a terminal is told what is waited for.
const SILENCE: Duration = Duration::from_secs(10);

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
    /// `Some(None)`: till it is active, without limit.
    active: Option<Option<Duration>>,
}

impl Patience {
    pub fn of(given: &Given) -> Patience {
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
    late(&watch.for_states(goals, patience.limit).await?)?;
    match patience.active {
        None => Ok(()),
        Some(limit) => watch.for_activity(all, limit).await,
    }
}

/// Waits for all, and says nothing when they are there.
pub async fn quietly(registry: &Registry, goals: Vec<Goal>, patience: Patience) -> Result<(), Failure> {
    late(&Watch::new(registry, true).for_states(goals, patience.limit).await?)
}

fn late(late: &[Goal]) -> Result<(), Failure> {
    if late.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = late
        .iter()
        .map(|goal| {
            let Goal { name, state, .. } = goal;
            format!("Error waiting for units: timed out waiting for unit {name} to report state {state}")
        })
        .collect();
    Err(Failure::new(lines.join("\n")))
}

struct Watch<'a> {
    registry: &'a Registry,
    machines: Machines,
    begin: Instant,
    told: bool,
    quiet: bool,
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
        Watch { registry, machines: Machines::default(), begin: Instant::now(), told: false, quiet }
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
            if let Ok(units) = self.registry.units_named(&names).await {
                let mut left = Vec::new();
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
                        self.explain_silence(unit);
                        left.push(goal);
                    }
                }
                goals = left;
            }
            if !goals.is_empty() && !pauses.next().await {
                break;
            }
        }
        Ok(goals)
    }

    async fn is_there(&self, goal: &Goal, unit: &Unit) -> bool {
        if unit.current_state != goal.state.as_str() {
            return false;
        }
        let Some(hash) = &goal.hash else { return true };
        match self.registry.states_of(&unit.name).await {
            Ok(states) => states
                .iter()
                .any(|state| state.machine_id == unit.machine_id && state.hash.eq_ignore_ascii_case(hash)),
            Err(_) => false,
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

    fn explain_silence(&mut self, unit: &Unit) {
        if self.told || self.begin.elapsed() < SILENCE {
            return;
        }
        self.told = true;
        if std::io::stderr().is_terminal() {
            let reason = match unit.scheduling_message.as_str() {
                "" if unit.machine_id.is_empty() => "it has no machine yet",
                "" => "its machine has not reported it yet",
                said => said,
            };
            eprintln!("Waiting for unit {}: {reason}", unit.name);
        }
    }

    async fn for_activity(&mut self, goals: Vec<Goal>, limit: Option<Duration>) -> Result<(), Failure> {
        let pauses = Pauses::until(limit.map(|limit| Instant::now() + limit));
        let mut left = goals;
        loop {
            let mut still = Vec::new();
            for goal in left {
                if !self.is_active(&goal.name).await? {
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
    async fn is_active(&mut self, name: &str) -> Result<bool, Failure> {
        let Ok(states) = self.registry.states_of(name).await else { return Ok(false) };
        if let Some(failed) = states.iter().find(|state| state.systemd_active_state == "failed") {
            let legend = self.legend(&failed.machine_id).await;
            return Err(Failure::new(format!(
                "Error waiting for units: unit {name} failed on {legend} ({} {} {})",
                failed.systemd_load_state, failed.systemd_active_state, failed.systemd_sub_state
            )));
        }
        Ok(states
            .iter()
            .any(|state| state.systemd_active_state == "active" && state.systemd_load_state == "loaded"))
    }
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
