//! Backend of the API: delegates to the running node.

use std::sync::{Arc, PoisonError, RwLock};

use fleet_api::additions::Plan;
use fleet_core::registry::View;
use fleet_core::schedule::Scheduler;
use fleet_core::{Cordon, JobState, MachineId};
use fleet_http::{Backend, Failure};
use fleet_node::{EtcdStore, Metrics, RegistryCache, Requests, StoreError, StoreLink};
use unit_file::{UnitFile, UnitName};

/// Persists across reloads, which replace the node.
pub struct Api {
    me: MachineId,
    metrics: Arc<Metrics>,
    current: RwLock<Option<Current>>,
}

#[derive(Clone)]
pub struct Current {
    pub registry: Arc<RegistryCache>,
    pub store_link: Arc<StoreLink>,
    pub requests: Requests<EtcdStore>,
}

impl Api {
    pub fn new(me: MachineId, metrics: Arc<Metrics>) -> Self {
        Self { me, metrics, current: RwLock::new(None) }
    }

    pub fn set(&self, current: Option<Current>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// `None` before the node is registered, and during a longer outage of the store.
    fn current(&self) -> Option<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        current.filter(|current| current.store_link.state().is_serving())
    }

    fn requests(&self) -> Result<Requests<EtcdStore>, Failure> {
        self.current().map(|current| current.requests).ok_or(Failure::NoStore)
    }
}

fn failed(error: StoreError) -> Failure {
    match error {
        // The original responds with an empty 500, which does not name the store.
        StoreError::Unavailable(_) => {
            tracing::error!("a client's request failed: {error}");
            Failure::NoStore
        }
        StoreError::Rejected(_) | StoreError::HistoryCleared => Failure::Store(error.to_string()),
    }
}

impl Backend for Api {
    fn with_view<R>(&self, read: impl FnOnce(&View, &Scheduler) -> R) -> Option<R> {
        Some(self.current()?.registry.with_scheduler(read))
    }

    async fn create(&self, name: &UnitName, file: &UnitFile, desired: JobState) -> Result<(), Failure> {
        self.requests()?.create(name, file, desired).await.map_err(failed)
    }

    async fn set_desired(&self, name: &UnitName, desired: JobState) -> Result<(), Failure> {
        self.requests()?.set_desired(name, desired).await.map_err(failed)
    }

    async fn destroy(&self, name: &UnitName) -> Result<(), Failure> {
        match self.requests()?.destroy(name).await {
            Err(StoreError::Rejected(_)) => Err(Failure::Missing),
            done => done.map_err(failed),
        }
    }

    async fn set_metadata(&self, machine: &MachineId, key: &str, value: &str) -> Result<(), Failure> {
        self.requests()?.set_metadata(machine, key, value).await.map_err(failed)
    }

    async fn set_cordon(&self, machine: &MachineId, cordon: Cordon) -> Result<(), Failure> {
        self.requests()?.set_cordon(machine, cordon).await.map_err(failed)
    }

    async fn rebalance(&self) -> Result<Plan, Failure> {
        self.requests()?.rebalance().await.map_err(failed)
    }

    fn me(&self) -> &MachineId {
        &self.me
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_store_is_named() {
        assert_eq!(failed(StoreError::Unavailable("header timeout".into())), Failure::NoStore);
        let rejected = StoreError::Rejected("full".into());
        assert_eq!(failed(rejected), Failure::Store("the store refuses: full".into()));
    }
}
