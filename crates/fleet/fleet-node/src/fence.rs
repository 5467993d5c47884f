//! Monitors heartbeats and decides when units must be stopped.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use fleet_core::fencing::{Decision, Facts, Others, decide};
use fleet_core::{FenceKey, MachineId};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::limits::KEEPALIVE_INTERVAL;
use crate::registry_cache::RegistryCache;
use crate::settings::{SavedState, Settings};
use crate::store_link::{Fence, LinkState, StoreLink};
use crate::unit_manager::{Peer, Peers};

/// Minimum interval between two checks.
const MIN_WAIT: Duration = Duration::from_millis(1);

pub struct FenceMonitor<'a, P> {
    pub peers: P,
    pub settings: &'a Settings,
    pub registry: &'a RegistryCache,
    pub store_link: &'a StoreLink,
    /// Called when the state that the next fleetd needs has changed.
    pub save_state: &'a (dyn Fn(&SavedState) + Send + Sync),
    /// Keep-alive: called at least once per [`KEEPALIVE_INTERVAL`] while the monitor runs.
    pub alive: &'a (dyn Fn() + Send + Sync),
}

impl<P: Peers> FenceMonitor<'_, P> {
    /// Never returns.
    pub async fn run(&self) {
        let mut link_state = self.store_link.subscribe();
        let mut recent = RecentPeers::default();
        let saved_state = self.settings.saved_state.as_ref();
        let mut without_store_at = saved_state.and_then(|state| state.without_store_at);
        let (mut saved, mut query) = (None, None);
        self.wait_for_first_heartbeat(&mut link_state).await;
        loop {
            (self.alive)();
            let others = self.others(&mut recent);
            let facts = self.facts(&others, without_store_at);
            if let Some(last_heartbeat) = self.store_link.state().last_heartbeat {
                let fence_key = fence_key(self.registry, self.settings);
                let state = SavedState { last_heartbeat, peers: others.clone(), fence_key, without_store_at };
                if saved.as_ref() != Some(&state) {
                    (self.save_state)(&state);
                    saved = Some(state);
                }
            }
            let (fence, until) = match decide(&facts) {
                Decision::KeepRunning { until } => (Fence::Open, until),
                Decision::QueryPeers { until } => {
                    (Fence::Open, until.min(facts.now + self.settings.retry_interval()))
                }
                Decision::Stop { kill_at } => {
                    (Fence::Stop, kill_at.min(facts.now + self.settings.retry_interval()))
                }
                Decision::Kill => (Fence::Kill, facts.now + self.settings.retry_interval()),
            };
            self.log_transition(fence);
            self.store_link.set_fence(fence);
            if matches!(decide(&facts), Decision::KeepRunning { .. }) {
                // A successful heartbeat moves the deadline.
                let wait = until.saturating_sub(facts.now).clamp(MIN_WAIT, KEEPALIVE_INTERVAL);
                drop(timeout(wait, link_state.changed()).await);
                query = None;
                continue;
            }
            let now = self.settings.clock.now();
            let wait = until.saturating_sub(now).clamp(MIN_WAIT, KEEPALIVE_INTERVAL);
            let (asked_at, response) = query.get_or_insert_with(|| (now, self.query_peers(others)));
            let asked_at = *asked_at;
            // Slow peers must not delay the next check.
            tokio::select! {
                none_has_store = response => {
                    query = None;
                    match none_has_store {
                        true => without_store_at = Some(asked_at),
                        false => drop(timeout(wait, link_state.changed()).await),
                    }
                }
                // The node keeps the sender.
                changed = link_state.changed() => debug_assert!(changed.is_ok()),
                () = sleep(wait) => {}
            }
        }
    }

    fn query_peers(&self, others: Vec<Peer>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        let (peers, key) = (self.peers.clone(), fence_key(self.registry, self.settings));
        Box::pin(async move {
            match key {
                Some(key) => peers.all_without_store(&key, &others).await,
                None => false,
            }
        })
    }

    /// A fleetd that starts late within the TTL of its last heartbeat tries the store before it stops units.
    async fn wait_for_first_heartbeat(&self, link_state: &mut watch::Receiver<LinkState>) {
        let Some(last_heartbeat) = link_state.borrow_and_update().last_heartbeat else { return };
        let last = (last_heartbeat + self.settings.ttl * 9 / 10).saturating_sub(self.settings.clock.now());
        drop(timeout(last.min(self.settings.retry_interval()), link_state.changed()).await);
    }

    fn log_transition(&self, fence: Fence) {
        if fence == self.store_link.state().fence {
            return;
        }
        match fence {
            Fence::Open => tracing::info!("units may run again"),
            Fence::Stop => tracing::warn!(
                "no heartbeat reached the store, and other machines may take over: stopping units"
            ),
            Fence::Kill => tracing::warn!("killing the units that did not stop in time"),
        }
    }

    fn facts(&self, others: &[Peer], without_store_at: Option<Duration>) -> Facts {
        let now = self.settings.clock.now();
        let last_heartbeat = self.store_link.state().last_heartbeat.unwrap_or(now);
        // Without known peers and saved state, no unit was started.
        let others = if others.is_empty() { Others::None } else { Others::Some { without_store_at } };
        Facts { now, last_heartbeat, ttl: self.settings.ttl, others }
    }

    /// Machines that are present or were until recently, since those may return while this one is partitioned. Before
    /// the registry is synced, the saved peers.
    fn others(&self, recent: &mut RecentPeers) -> Vec<Peer> {
        if !self.registry.is_synced() {
            return self
                .settings
                .saved_state
                .as_ref()
                .map(|saved_state| saved_state.peers.clone())
                .unwrap_or_default();
        }
        let now = self.settings.clock.now();
        self.registry.with_view(|view| {
            for machine in view.machines().filter(|machine| machine.id != self.settings.machine_id) {
                let object = view.machine_object(&machine.id);
                let address = object.map(|object| object.public_ip.clone()).unwrap_or_default();
                recent.insert(machine.id, (address, now));
            }
        });
        recent.retain(|_, (_, seen)| now.saturating_sub(*seen) < self.settings.ttl * FORGET_AFTER_TTLS);
        recent.iter().map(|(id, (address, _))| Peer { id: id.clone(), address: address.clone() }).collect()
    }
}

/// The cluster's fence key. Before the registry is synced, the saved one.
pub fn fence_key(registry: &RegistryCache, settings: &Settings) -> Option<FenceKey> {
    let saved = || settings.saved_state.as_ref()?.fence_key.clone();
    registry.with_view(|view| view.fence_key().cloned()).or_else(saved)
}

/// Machines with address and time of last presence.
type RecentPeers = BTreeMap<MachineId, (String, Duration)>;

/// After this many TTLs of absence a machine is not expected to return soon.
const FORGET_AFTER_TTLS: u32 = 10;
