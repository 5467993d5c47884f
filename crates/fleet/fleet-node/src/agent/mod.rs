//! Runs the units that are assigned to this machine.
//!
//! A pass compares desired and local units and executes the difference. Long operations such as stops run in the
//! background; passes skip their units until they are finished.

mod fence_enforcer;
mod local_units;
mod pass;
mod purge;
mod refusal_reports;
mod refusals;

use std::sync::Arc;

use fleet_core::JobState;
use fleet_core::registry::{Key, Subject, UnitState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use unit_file::{UnitHash, UnitName};

use crate::limits::{AGENT_INTERVAL, BATCH_WINDOW, POLL_INTERVAL};
use crate::metrics::Metrics;
use crate::presence::is_foreign_presence;
use crate::publisher::KeyPublisher;
use crate::registry_cache::{RegistryCache, RegistryEvent};
use crate::settings::Settings;
use crate::store::Store;
use crate::store_link::StoreLink;
use crate::unit_manager::{SystemdState, UnitManager, UnitManagerEvent};

pub use fence_enforcer::FenceEnforcer;
pub use local_units::{LocalUnits, SaveUnits};

/// Prefix of the substate of a unit that systemd is about to restart.
const AUTO_RESTART: &str = "auto-restart";

/// Shared by all parts of the agent. Cheap to clone.
pub struct Agent<S, H> {
    pub store: S,
    pub unit_manager: H,
    pub publisher: KeyPublisher,
    pub settings: Arc<Settings>,
    pub registry: Arc<RegistryCache>,
    pub store_link: Arc<StoreLink>,
    pub local_units: Arc<LocalUnits>,
    pub metrics: Arc<Metrics>,
}

impl<S: Clone, H: Clone> Clone for Agent<S, H> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            unit_manager: self.unit_manager.clone(),
            publisher: self.publisher.clone(),
            settings: self.settings.clone(),
            registry: self.registry.clone(),
            store_link: self.store_link.clone(),
            local_units: self.local_units.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

impl<S: Store, H: UnitManager> Agent<S, H> {
    pub fn fence_enforcer(&self) -> FenceEnforcer<H> {
        let (unit_manager, local_units) = (self.unit_manager.clone(), self.local_units.clone());
        FenceEnforcer {
            unit_manager,
            local_units,
            registry: self.registry.clone(),
            store_link: self.store_link.clone(),
        }
    }

    /// Adopts existing units, then follows the cluster. Never returns.
    pub async fn run(self) {
        let mut unit_events = self.unit_manager.events();
        self.local_units.adopt_all(&self.unit_manager, &self.settings).await;
        let mut registry_events = self.registry.subscribe();
        let mut link_state = self.store_link.subscribe();
        let mut tick = interval(AGENT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Long operations. Each requests another pass when it ends.
        let mut background = JoinSet::new();
        let mut pass_at: Option<Instant> = None;
        loop {
            tokio::select! {
                event = registry_events.next() => if self.needs_pass(&event).await { pass_at.get_or_insert(Instant::now() + BATCH_WINDOW); },
                Some(_) = background.join_next() => { pass_at.get_or_insert(Instant::now() + BATCH_WINDOW); }
                _ = tick.tick() => pass_at = Some(Instant::now()),
                _ = poll.tick() => self.poll_states().await,
                changed = link_state.changed() => if changed.is_ok() {
                    pass_at.get_or_insert(Instant::now() + BATCH_WINDOW);
                },
                event = next_event(&mut unit_events) => match event {
                    UnitManagerEvent::StateChanged(name, state) => self.publish_state(&name, &state),
                    UnitManagerEvent::EventsLost => self.poll_states().await,
                },
                () = sleep_until(pass_at.unwrap_or_else(Instant::now)), if pass_at.is_some() => {
                    pass_at = None;
                    if self.registry.is_synced() && !is_foreign_presence(&self.settings, &self.registry) {
                        self.pass(&mut background).await;
                        self.local_units.save();
                    }
                }
            }
        }
    }

    /// Whether a pass may have work to do. A repeated launch request also resets a failed unit.
    async fn needs_pass(&self, event: &RegistryEvent) -> bool {
        let RegistryEvent::Changed { subjects, relaunched } = event else { return true };
        if let Some(name) = relaunched
            && self.local_units.has_or_refused(name)
        {
            self.local_units.with_refusals(|refusals| refusals.reset_backoff(name));
            self.reset_if_failed(name).await;
        }
        let machine_id = &self.settings.machine_id;
        subjects.iter().any(|subject| match subject {
            Subject::Machine(id) => id == machine_id,
            Subject::Unit(name) => {
                self.local_units.has_or_refused(name)
                    || self.registry.with_view(|view| {
                        view.unit(name).is_some_and(|unit| {
                            unit.requirements.global || unit.target.as_ref() == Some(machine_id)
                        })
                    })
            }
            // A handover waits for the other machine's state. Global units run everywhere and need no handover.
            Subject::State(name, id) => {
                id != machine_id && self.local_units.contains(name) && !self.is_global(name)
            }
            Subject::Lease | Subject::EngineVersion => false,
        })
    }

    /// Makes later passes start a failed unit again.
    async fn reset_if_failed(&self, name: &UnitName) {
        let states = self.unit_manager.states(std::slice::from_ref(name)).await;
        // If the state is unknown, a start is harmless: a running unit is not affected.
        let failed = states.map_or(true, |of| of.get(name).is_some_and(|state| state.active == "failed"));
        if failed && self.local_units.state(name) == Some(JobState::Launched) {
            self.local_units.set_state(name, JobState::Loaded);
        }
    }

    async fn poll_states(&self) {
        let names = self.local_units.names();
        if names.is_empty() {
            return;
        }
        match self.unit_manager.states(&names.into_iter().collect::<Vec<_>>()).await {
            Ok(states) => states.iter().for_each(|(name, state)| self.publish_state(name, state)),
            Err(error) => tracing::warn!("asking systemd for the states of units: {error}"),
        }
    }

    /// Publishes systemd's state of a local unit.
    fn publish_state(&self, name: &UnitName, state: &SystemdState) {
        if let Some(hash) = self.local_units.hash(name) {
            let (key, value) = (self.state_key(name), self.state_value(name, state, hash));
            match state.active.as_str() {
                // A unit in a restart loop is never active for long, so debouncing would hide it.
                "activating" if !state.sub.starts_with(AUTO_RESTART) => {
                    self.publisher.publish_debounced(key, value);
                }
                _ => self.publisher.publish(key, value),
            }
        }
    }

    fn state_key(&self, name: &UnitName) -> Key {
        Key::State(name.clone(), self.settings.machine_id.clone())
    }

    fn state_value(&self, name: &UnitName, state: &SystemdState, hash: UnitHash) -> String {
        let SystemdState { load, active, sub } = state.clone();
        let refusal = self.refusal(name, hash);
        UnitState { load, active, sub, machine: self.settings.machine_id.clone(), hash, refusal }.encode()
    }
}

async fn next_event(events: &mut mpsc::Receiver<UnitManagerEvent>) -> UnitManagerEvent {
    match events.recv().await {
        Some(event) => event,
        // The event source has ended; polling continues.
        None => std::future::pending().await,
    }
}
