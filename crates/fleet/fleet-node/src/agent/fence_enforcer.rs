//! Stops units while the fence is active, concurrently with agent passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use unit_file::UnitName;

use crate::agent::LocalUnits;
use crate::limits::MAX_CONCURRENT;
use crate::registry_cache::RegistryCache;
use crate::store_link::{Fence, StoreLink};
use crate::unit_manager::UnitManager;

/// Check interval while the fence is active. A timer or another unit may start a stopped unit again.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Limit for systemd to report unit states.
const STATES_TIMEOUT: Duration = Duration::from_secs(1);
/// Delay after a failed stop.
const STOP_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Units that start other units. They are stopped first, or they would restart what was just stopped.
const TRIGGERS: [&str; 3] = [".timer", ".path", ".socket"];

/// Stops units while the fence is active. Cheap to clone.
#[derive(Clone)]
pub struct FenceEnforcer<H> {
    pub unit_manager: H,
    pub local_units: Arc<LocalUnits>,
    pub registry: Arc<RegistryCache>,
    pub store_link: Arc<StoreLink>,
}

/// State since the fence became active.
#[derive(Default)]
struct StopProgress {
    /// Units with a running stop job.
    stopping: BTreeSet<UnitName>,
    /// Time of the last failed stop.
    failed: BTreeMap<UnitName, Instant>,
    /// Units whose failure is logged already.
    logged: BTreeSet<UnitName>,
}

impl<H: UnitManager> FenceEnforcer<H> {
    /// Never returns.
    pub async fn run(self) {
        let mut link_state = self.store_link.subscribe();
        let mut stops = JoinSet::new();
        let mut progress = StopProgress::default();
        loop {
            let running = if self.fence() == Fence::Open { Vec::new() } else { self.running().await };
            // The fence may have opened meanwhile: the agent may have started these units.
            let fence = self.fence();
            if fence == Fence::Open {
                (progress.failed, progress.logged) = (BTreeMap::new(), BTreeSet::new());
            } else {
                for name in due(&running, &progress) {
                    // Units with a running start or stop are handled after it.
                    if self.local_units.mark_busy(&name) {
                        progress.stopping.insert(name.clone());
                        stops.spawn(self.clone().stop(name));
                    }
                }
                if fence == Fence::Kill {
                    self.kill(running, &mut progress.logged).await;
                }
            }
            tokio::select! {
                // The agent keeps the sender.
                changed = link_state.changed() => debug_assert!(changed.is_ok()),
                Some(Ok((name, failure))) = stops.join_next() => stop_finished(name, failure, &mut progress),
                () = sleep(CHECK_INTERVAL), if fence != Fence::Open => {}
            }
        }
    }

    fn fence(&self) -> Fence {
        self.store_link.state().fence
    }

    /// Units assigned to this machine that another machine might take over.
    fn reassignable(&self) -> Vec<UnitName> {
        let mut names = self.local_units.names();
        self.registry.with_view(|view| {
            names.retain(|name| match view.requirements(name) {
                Some(requirements) => !requirements.outlasts_partition(),
                None => !self.local_units.is_unfenced(name),
            });
        });
        names.into_iter().collect()
    }

    /// Reassignable units that systemd reports as active, no matter who started them: a timer may start a unit that
    /// fleetd only loaded. If systemd does not respond, all reassignable units.
    async fn running(&self) -> Vec<UnitName> {
        let names = self.reassignable();
        if names.is_empty() {
            return names;
        }
        let Ok(Ok(states)) = timeout(STATES_TIMEOUT, self.unit_manager.states(&names)).await else {
            return names;
        };
        let runs = |name: &UnitName| {
            states.get(name).is_some_and(|state| !matches!(state.active.as_str(), "inactive" | "failed"))
        };
        names.into_iter().filter(runs).collect()
    }

    /// Returns the unit, and the error if it was not stopped.
    async fn stop(self, name: UnitName) -> (UnitName, Option<String>) {
        self.local_units.mark_stopping(&name);
        let stopped = self.unit_manager.stop(&name).await;
        if stopped.is_ok() {
            self.local_units.set_state(&name, fleet_core::JobState::Loaded);
        }
        self.local_units.clear_busy(&name);
        (name, stopped.err().map(|error| error.to_string()))
    }

    /// Kills without regard to running stop jobs, until the fence opens.
    async fn kill(&self, names: Vec<UnitName>, logged: &mut BTreeSet<UnitName>) {
        let names = names.into_iter().take_while(|_| self.fence() == Fence::Kill);
        let failures = iter(names).map(|name| async move { (self.unit_manager.kill(&name).await, name) });
        let failures: Vec<_> = failures.buffer_unordered(MAX_CONCURRENT).collect().await;
        for (outcome, name) in failures {
            if let Err(error) = outcome
                && logged.insert(name.clone())
            {
                tracing::error!("Failed to kill Unit({name}): {error}");
            }
        }
    }
}

fn stop_finished(name: UnitName, failure: Option<String>, progress: &mut StopProgress) {
    progress.stopping.remove(&name);
    let Some(why) = failure else { return };
    if progress.logged.insert(name.clone()) {
        tracing::error!("Failed to stop Unit({name}): {why}");
    }
    progress.failed.insert(name, Instant::now());
}

/// The units to stop now.
fn due(running: &[UnitName], progress: &StopProgress) -> Vec<UnitName> {
    let is_trigger = |name: &&UnitName| TRIGGERS.iter().any(|suffix| name.as_str().ends_with(suffix));
    let is_due = |name: &&UnitName| {
        let waits = progress.failed.get(*name).is_some_and(|failed| failed.elapsed() < STOP_RETRY_INTERVAL);
        !waits && !progress.stopping.contains(*name)
    };
    // A trigger that cannot be stopped does not delay the others.
    let (triggers, others): (Vec<_>, Vec<_>) = running.iter().filter(is_due).partition(is_trigger);
    let first = if triggers.is_empty() { others } else { triggers };
    first.into_iter().cloned().collect()
}
