//! Stops units while the fence is up, whatever passes do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use unit_file::UnitName;

use crate::agent::Agent;
use crate::contact::Fence;
use crate::hands::Hands;
use crate::limits::AT_A_TIME;
use crate::store::Store;

/// Between two looks while the fence is up: what is down may be started again, by a timer or by another unit.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Limit for systemd to report the units' states.
const ANSWERED: Duration = Duration::from_secs(1);
/// After a stop that failed.
const STOP_AGAIN: Duration = Duration::from_secs(1);
/// Units that start other units. They are stopped first, since they would restart what was just stopped.
const TRIGGERS: [&str; 3] = [".timer", ".path", ".socket"];

/// Progress since the fence was raised.
#[derive(Default)]
struct Fenced {
    /// Units whose stop job runs.
    stopping: BTreeSet<UnitName>,
    /// When the last stop failed.
    failed: BTreeMap<UnitName, Instant>,
    /// Units whose failure was logged.
    told: BTreeSet<UnitName>,
}

/// Never ends.
pub async fn keep_fenced<S: Store, H: Hands>(agent: Agent<S, H>) {
    let mut standing = agent.contact.follow();
    let mut stops = JoinSet::new();
    let mut fenced = Fenced::default();
    loop {
        let fence = agent.contact.standing().fence;
        if fence == Fence::Open {
            (fenced.failed, fenced.told) = (BTreeMap::new(), BTreeSet::new());
        } else {
            let running = running(&agent).await;
            for name in due(&running, &fenced) {
                // What is being started or stopped already has its turn first.
                if agent.there.begin(&name) {
                    fenced.stopping.insert(name.clone());
                    stops.spawn(stop(agent.clone(), name));
                }
            }
            if fence == Fence::Kill {
                kill(&agent, running, &mut fenced.told).await;
            }
        }
        tokio::select! {
            // The sender is the agent's own.
            changed = standing.changed() => debug_assert!(changed.is_ok()),
            Some(Ok((name, failure))) = stops.join_next() => ended(name, failure, &mut fenced),
            () = sleep(LOOK_AGAIN), if fence != Fence::Open => {}
        }
    }
}

fn ended(name: UnitName, failure: Option<String>, fenced: &mut Fenced) {
    fenced.stopping.remove(&name);
    let Some(why) = failure else { return };
    if fenced.told.insert(name.clone()) {
        tracing::error!("Failed to stop Unit({name}): {why}");
    }
    fenced.failed.insert(name, Instant::now());
}

/// The units to stop now.
fn due(running: &[UnitName], fenced: &Fenced) -> Vec<UnitName> {
    let is_trigger = |name: &&UnitName| TRIGGERS.iter().any(|suffix| name.as_str().ends_with(suffix));
    let is_due = |name: &&UnitName| {
        let waits = fenced.failed.get(*name).is_some_and(|failed| failed.elapsed() < STOP_AGAIN);
        !waits && !fenced.stopping.contains(*name)
    };
    // A trigger that cannot be stopped does not delay the others.
    let (triggers, others): (Vec<_>, Vec<_>) = running.iter().filter(is_due).partition(is_trigger);
    let first = if triggers.is_empty() { others } else { triggers };
    first.into_iter().cloned().collect()
}

/// Whoever stops them, and however long that would take.
async fn kill<S: Store, H: Hands>(agent: &Agent<S, H>, names: Vec<UnitName>, told: &mut BTreeSet<UnitName>) {
    let failures = iter(names).map(|name| async move { (agent.hands.kill(&name).await, name) });
    let failures: Vec<_> = failures.buffer_unordered(AT_A_TIME).collect().await;
    for (outcome, name) in failures {
        if let Err(error) = outcome
            && told.insert(name.clone())
        {
            tracing::error!("Failed to kill Unit({name}): {error}");
        }
    }
}

/// Takeable units that are active according to systemd, whatever fleetd did with them: a unit that is only loaded runs where a
/// timer or another unit started it. All of them where systemd does not respond.
async fn running<S: Store, H: Hands>(agent: &Agent<S, H>) -> Vec<UnitName> {
    let names: Vec<UnitName> = agent.takeable().into_iter().collect();
    if names.is_empty() {
        return names;
    }
    let Ok(Ok(states)) = timeout(ANSWERED, agent.hands.states(&names)).await else { return names };
    let runs = |name: &UnitName| {
        states.get(name).is_some_and(|state| !matches!(state.active.as_str(), "inactive" | "failed"))
    };
    names.into_iter().filter(runs).collect()
}

/// The unit, and the error if it was not stopped.
async fn stop<S: Store, H: Hands>(agent: Agent<S, H>, name: UnitName) -> (UnitName, Option<String>) {
    agent.will_stop(&name);
    let stopped = agent.hands.stop(&name).await;
    if stopped.is_ok() {
        agent.there.set_state(&name, cluster::JobState::Loaded);
    }
    agent.there.end(&name);
    (name, stopped.err().map(|error| error.to_string()))
}
