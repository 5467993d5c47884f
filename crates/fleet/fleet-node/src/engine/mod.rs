//! Schedules units to machines, on the one node that holds the lease.

mod brain;
mod garbage;
mod rollouts;
mod term;
mod turns;
mod writes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_core::MachineId;
use fleet_core::registry::{EngineVersion, Key, Lease, LeaseFacts, LeaseStep, Subject};
use tokio::time::timeout;

use crate::contact::Contact;
use crate::known::{Known, News};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::store::{Only, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct Engine<S> {
    pub store: S,
    pub patient_store: S,
    pub settings: Arc<Settings>,
    pub known: Arc<Known>,
    pub contact: Arc<Contact>,
    pub metrics: Arc<Metrics>,
    /// The lease's last write by this node, while it leads.
    pub held: Arc<Mutex<Option<u64>>>,
}

/// The lease as this node has just written it.
#[derive(Debug, Clone, Copy)]
struct Won {
    index: u64,
    /// When the write was sent.
    sent: Duration,
    /// Until an engine of an older format may still believe in its own.
    wait: Duration,
}

impl<S: Store> Engine<S> {
    /// Lets another node lead at once. The engine must not run any more.
    pub async fn release(&self) {
        let held = self.held();
        if let Some(index) = held
            && let Err(error) = self.store.delete(&Key::EngineLeader, Only::Index(index)).await
        {
            tracing::warn!("releasing the engine's lease: {error}");
        }
    }

    fn held(&self) -> Option<u64> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_held(&self, index: Option<u64>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Waits until the lease is this node's.
    async fn win(&self) -> Won {
        let mut news = self.known.follow();
        let mut standing = self.contact.follow();
        loop {
            // The sender lives as long as the node.
            if standing.wait_for(crate::contact::Standing::is_serving).await.is_err() {
                return std::future::pending().await;
            }
            let step = match self.is_registered() {
                true => self.try_to_win().await,
                false => Ok(None),
            };
            match step {
                Ok(Some(won)) => return won,
                Ok(None) => {}
                Err(error) => tracing::debug!("the engine's lease: {error}"),
            }
            // Another machine leads, or this one has to register again. Events report the end of both; the limit is for events
            // that are lost.
            let ended = async { while !self.is_about_leading(&news.next().await) {} };
            drop(timeout(self.settings.lease_ttl(), ended).await);
        }
    }

    async fn try_to_win(&self) -> Result<Option<Won>, StoreError> {
        let me = &self.settings.me;
        if self.known.look(|view| view.lease().is_some_and(|lease| lease.machine != *me && lease.version > 0))
        {
            return Ok(None);
        }
        if !self.may_schedule().await? {
            return Ok(None);
        }
        let sent = self.settings.clock.now();
        let found = self.store.get(&Key::EngineLeader).await?.map(|stored| LeaseFacts {
            lease: Lease::decode(&stored.value),
            index: stored.index,
            remaining: stored.remaining.unwrap_or_default(),
        });
        let ttl = self.settings.lease_ttl();
        match LeaseStep::decide(found.as_ref(), me, self.held(), ttl) {
            LeaseStep::Acquire => self.write_lease(ttl, Only::Absent, sent, Duration::ZERO).await,
            LeaseStep::Renew { index } => {
                self.write_lease(ttl, Only::Index(index), sent, Duration::ZERO).await
            }
            LeaseStep::Steal { index, ttl, wait } => {
                self.write_lease(ttl, Only::Index(index), sent, wait).await
            }
            LeaseStep::Follow { .. } => Ok(None),
        }
    }

    async fn write_lease(
        &self,
        ttl: Duration,
        only: Only,
        sent: Duration,
        wait: Duration,
    ) -> Result<Option<Won>, StoreError> {
        let value = Lease::ours(self.settings.me.clone()).encode();
        match self.store.put(&Key::EngineLeader, &value, Some(ttl), only).await {
            Ok(index) => {
                self.set_held(Some(index));
                Ok(Some(Won { index, sent, wait }))
            }
            // Another one was quicker.
            Err(StoreError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Not where a newer engine was at work.
    async fn may_schedule(&self) -> Result<bool, StoreError> {
        let found = self.known.look(|view| view.engine_version().map(str::to_owned));
        match EngineVersion::decide(found.as_deref()) {
            EngineVersion::Same => Ok(true),
            EngineVersion::StandBack => Ok(false),
            EngineVersion::Raise { .. } => {
                let only = found.map_or(Only::Absent, Only::Value);
                match self.store.put(&Key::EngineVersion, &EngineVersion::ours(), None, only).await {
                    Ok(_) | Err(StoreError::Refused(_)) => Ok(true),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Whether this machine's presence exists, as far as this node has followed the store. Its units may run on after it has
    /// ended, where no other machine had the store: only this node's engine could then start them elsewhere.
    fn is_registered(&self) -> bool {
        self.known.look(|view| view.is_present(&self.settings.me))
    }

    fn is_about_leading(&self, news: &News) -> bool {
        match news {
            News::Everything => true,
            News::Changed { subjects, .. } => {
                subjects.contains(&Subject::Lease)
                    || subjects.contains(&Subject::Machine(self.settings.me.clone()))
            }
        }
    }

    /// Whether nobody may have been able to renew anything for a while, or this node has told others so.
    fn store_was_away(&self, now: Duration) -> bool {
        let recent =
            |since: Option<Duration>| since.is_some_and(|at| now.saturating_sub(at) < self.settings.ttl);
        recent(self.contact.standing().serving_since) || recent(self.contact.told_without())
    }

    /// The machines that units are assigned to.
    fn assigned(&self) -> Vec<MachineId> {
        self.known.look(|view| view.units().filter_map(|unit| unit.target).collect())
    }
}
