//! Schedules units to machines on the node that holds the lease.

mod election;
mod garbage;
mod leader_state;
mod leadership;
mod rollouts;
mod writes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_core::MachineId;
use fleet_core::registry::{EngineVersion, Key, Lease, LeaseFacts, LeaseStep, Subject};
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::registry_cache::{RegistryCache, RegistryEvent};
use crate::settings::Settings;
use crate::store::{Precondition, Store, StoreError};
use crate::store_link::StoreLink;

/// Cheap to clone.
#[derive(Clone)]
pub struct Engine<S> {
    pub store: S,
    pub lease_store: S,
    pub settings: Arc<Settings>,
    pub registry: Arc<RegistryCache>,
    pub store_link: Arc<StoreLink>,
    pub metrics: Arc<Metrics>,
    /// Index of this node's last write to the lease, while it leads.
    pub lease_index: Arc<Mutex<Option<u64>>>,
}

/// A lease that this node has just written.
#[derive(Debug, Clone, Copy)]
struct AcquiredLease {
    index: u64,
    /// When the write was sent.
    sent_at: Duration,
    /// How long an engine with an older lease format may still consider itself leader.
    wait: Duration,
}

impl<S: Store> Engine<S> {
    /// Deletes the lease so that another node can lead immediately. The engine must not run any more.
    pub async fn release(&self) {
        let lease_index = self.lease_index();
        if let Some(index) = lease_index
            && let Err(error) = self.store.delete(&Key::EngineLeader, Precondition::Index(index)).await
        {
            tracing::warn!("releasing the engine's lease: {error}");
        }
    }

    fn lease_index(&self) -> Option<u64> {
        *self.lease_index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_lease_index(&self, index: Option<u64>) {
        *self.lease_index.lock().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Waits until this node holds the lease.
    async fn acquire_lease(&self) -> AcquiredLease {
        let mut events = self.registry.subscribe();
        let mut link_state = self.store_link.subscribe();
        loop {
            // The sender lives as long as the node.
            if link_state.wait_for(crate::store_link::LinkState::is_serving).await.is_err() {
                return std::future::pending().await;
            }
            let step = match self.is_registered() {
                true => self.try_acquire().await,
                false => Ok(None),
            };
            match step {
                Ok(Some(lease)) => return lease,
                Ok(None) => {}
                Err(error) => tracing::debug!("the engine's lease: {error}"),
            }
            // Another machine leads, or this one must register first. Events report a change of either; the timeout
            // covers lost events.
            let released = async { while !self.concerns_leadership(&events.next().await) {} };
            drop(timeout(self.settings.lease_ttl(), released).await);
        }
    }

    async fn try_acquire(&self) -> Result<Option<AcquiredLease>, StoreError> {
        let machine_id = &self.settings.machine_id;
        if self.registry.with_view(|view| {
            view.lease().is_some_and(|lease| lease.machine != *machine_id && lease.version > 0)
        }) {
            return Ok(None);
        }
        if !self.may_schedule().await? {
            return Ok(None);
        }
        let sent_at = self.settings.clock.now();
        let found = self.store.get(&Key::EngineLeader).await?.map(|stored| LeaseFacts {
            lease: Lease::decode(&stored.value),
            index: stored.index,
            remaining: stored.remaining.unwrap_or_default(),
        });
        let ttl = self.settings.lease_ttl();
        match LeaseStep::decide(found.as_ref(), machine_id, self.lease_index(), ttl) {
            LeaseStep::Acquire => self.write_lease(ttl, Precondition::Absent, sent_at, Duration::ZERO).await,
            LeaseStep::Renew { index } => {
                self.write_lease(ttl, Precondition::Index(index), sent_at, Duration::ZERO).await
            }
            LeaseStep::Steal { index, ttl, wait } => {
                self.write_lease(ttl, Precondition::Index(index), sent_at, wait).await
            }
            LeaseStep::Follow { .. } => Ok(None),
        }
    }

    async fn write_lease(
        &self,
        ttl: Duration,
        precondition: Precondition,
        sent_at: Duration,
        wait: Duration,
    ) -> Result<Option<AcquiredLease>, StoreError> {
        let value = Lease::ours(self.settings.machine_id.clone()).encode();
        match self.store.put(&Key::EngineLeader, &value, Some(ttl), precondition).await {
            Ok(index) => {
                self.set_lease_index(Some(index));
                Ok(Some(AcquiredLease { index, sent_at, wait }))
            }
            // Another node acquired it first.
            Err(StoreError::Rejected(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns false if a newer engine has run in this cluster.
    async fn may_schedule(&self) -> Result<bool, StoreError> {
        let found = self.registry.with_view(|view| view.engine_version().map(str::to_owned));
        match EngineVersion::decide(found.as_deref()) {
            EngineVersion::Same => Ok(true),
            EngineVersion::Incompatible => Ok(false),
            EngineVersion::Raise { .. } => {
                let precondition = found.map_or(Precondition::Absent, Precondition::Value);
                match self.store.put(&Key::EngineVersion, &EngineVersion::ours(), None, precondition).await {
                    Ok(_) | Err(StoreError::Rejected(_)) => Ok(true),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Whether this machine's presence is in the view. After it has expired the machine's units may still run, if no
    /// machine can reach the store: then only this node's engine could start them elsewhere.
    fn is_registered(&self) -> bool {
        self.registry.with_view(|view| view.is_present(&self.settings.machine_id))
    }

    fn concerns_leadership(&self, event: &RegistryEvent) -> bool {
        match event {
            RegistryEvent::Resync => true,
            RegistryEvent::Changed { subjects, .. } => {
                subjects.contains(&Subject::Lease)
                    || subjects.contains(&Subject::Machine(self.settings.machine_id.clone()))
            }
        }
    }

    /// Whether machines may recently have been unable to renew their keys, or this node has reported to a peer that
    /// it has no store.
    fn store_was_unreachable(&self, now: Duration) -> bool {
        let recent =
            |since: Option<Duration>| since.is_some_and(|at| now.saturating_sub(at) < self.settings.ttl);
        recent(self.store_link.state().serving_since) || recent(self.store_link.reported_no_store())
    }

    /// Machines with assigned units.
    fn assigned(&self) -> Vec<MachineId> {
        self.registry.with_view(|view| view.units().filter_map(|unit| unit.target).collect())
    }
}
