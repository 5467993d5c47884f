//! Stops units while the fence is up, whatever passes do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use unit_file::UnitName;

use crate::agent::There;
use crate::contact::{Contact, Fence};
use crate::hands::Hands;
use crate::known::Known;
use crate::limits::AT_A_TIME;

/// Between two looks while the fence is up: what is down may be started again, by a timer or by another unit.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Limit for systemd to report the units' states.
const ANSWERED: Duration = Duration::from_secs(1);
/// After a stop that failed.
const STOP_AGAIN: Duration = Duration::from_secs(1);
/// Units that start other units. They are stopped first, since they would restart what was just stopped.
const TRIGGERS: [&str; 3] = [".timer", ".path", ".socket"];

/// What stops units while the fence is up. Cheap to clone.
#[derive(Clone)]
pub struct Fenced<H> {
    pub hands: H,
    pub there: Arc<There>,
    pub known: Arc<Known>,
    pub contact: Arc<Contact>,
}

/// Since the fence was raised.
#[derive(Default)]
struct Progress {
    /// Units whose stop job runs.
    stopping: BTreeSet<UnitName>,
    /// When the last stop failed.
    failed: BTreeMap<UnitName, Instant>,
    /// Units whose failure was logged.
    told: BTreeSet<UnitName>,
}

impl<H: Hands> Fenced<H> {
    /// Never ends.
    pub async fn keep(self) {
        let mut standing = self.contact.follow();
        let mut stops = JoinSet::new();
        let mut progress = Progress::default();
        loop {
            let fence = self.contact.standing().fence;
            if fence == Fence::Open {
                (progress.failed, progress.told) = (BTreeMap::new(), BTreeSet::new());
            } else {
                let running = self.running().await;
                for name in due(&running, &progress) {
                    // What is being started or stopped already has its turn first.
                    if self.there.begin(&name) {
                        progress.stopping.insert(name.clone());
                        stops.spawn(self.clone().stop(name));
                    }
                }
                if fence == Fence::Kill {
                    self.kill(running, &mut progress.told).await;
                }
            }
            tokio::select! {
                // The sender is the agent's own.
                changed = standing.changed() => debug_assert!(changed.is_ok()),
                Some(Ok((name, failure))) = stops.join_next() => ended(name, failure, &mut progress),
                () = sleep(LOOK_AGAIN), if fence != Fence::Open => {}
            }
        }
    }

    /// Units assigned to this machine that another one might take over: those a fence is for.
    fn takeable(&self) -> Vec<UnitName> {
        let mut names = self.there.names();
        self.known.look(|view| {
            names.retain(|name| match view.wanted(name) {
                Some(wanted) => !wanted.outlasts_partition(),
                None => !self.there.is_unfenced(name),
            });
        });
        names.into_iter().collect()
    }

    /// Takeable units that are active according to systemd, whatever fleetd did with them: a unit that is only loaded runs
    /// where a timer or another unit started it. All of them where systemd does not respond.
    async fn running(&self) -> Vec<UnitName> {
        let names = self.takeable();
        if names.is_empty() {
            return names;
        }
        let Ok(Ok(states)) = timeout(ANSWERED, self.hands.states(&names)).await else { return names };
        let runs = |name: &UnitName| {
            states.get(name).is_some_and(|state| !matches!(state.active.as_str(), "inactive" | "failed"))
        };
        names.into_iter().filter(runs).collect()
    }

    /// The unit, and the error if it was not stopped.
    async fn stop(self, name: UnitName) -> (UnitName, Option<String>) {
        self.there.will_stop(&name);
        let stopped = self.hands.stop(&name).await;
        if stopped.is_ok() {
            self.there.set_state(&name, fleet_core::JobState::Loaded);
        }
        self.there.end(&name);
        (name, stopped.err().map(|error| error.to_string()))
    }

    /// Whoever stops them, and however long that would take.
    async fn kill(&self, names: Vec<UnitName>, told: &mut BTreeSet<UnitName>) {
        let failures = iter(names).map(|name| async move { (self.hands.kill(&name).await, name) });
        let failures: Vec<_> = failures.buffer_unordered(AT_A_TIME).collect().await;
        for (outcome, name) in failures {
            if let Err(error) = outcome
                && told.insert(name.clone())
            {
                tracing::error!("Failed to kill Unit({name}): {error}");
            }
        }
    }
}

fn ended(name: UnitName, failure: Option<String>, progress: &mut Progress) {
    progress.stopping.remove(&name);
    let Some(why) = failure else { return };
    if progress.told.insert(name.clone()) {
        tracing::error!("Failed to stop Unit({name}): {why}");
    }
    progress.failed.insert(name, Instant::now());
}

/// The units to stop now.
fn due(running: &[UnitName], progress: &Progress) -> Vec<UnitName> {
    let is_trigger = |name: &&UnitName| TRIGGERS.iter().any(|suffix| name.as_str().ends_with(suffix));
    let is_due = |name: &&UnitName| {
        let waits = progress.failed.get(*name).is_some_and(|failed| failed.elapsed() < STOP_AGAIN);
        !waits && !progress.stopping.contains(*name)
    };
    // A trigger that cannot be stopped does not delay the others.
    let (triggers, others): (Vec<_>, Vec<_>) = running.iter().filter(is_due).partition(is_trigger);
    let first = if triggers.is_empty() { others } else { triggers };
    first.into_iter().cloned().collect()
}
