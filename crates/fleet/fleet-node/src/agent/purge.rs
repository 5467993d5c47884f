//! Removal of all units when the machine leaves the cluster.

use std::sync::atomic::{AtomicBool, Ordering};

use fleet_core::registry::Key;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::agent::Agent;
use crate::limits::MAX_CONCURRENT;
use crate::store::{Precondition, Store, StoreError};
use crate::unit_manager::UnitManager;

impl<S: Store, H: UnitManager> Agent<S, H> {
    /// Stops and removes every unit and withdraws its keys. No other part of this agent may run.
    pub async fn purge(&self) {
        let names = self.local_units.names();
        tracing::info!("stopping and removing {} units", names.len());
        // Only one unit waits for an unreachable store: the keys expire anyway.
        let store_unreachable = AtomicBool::new(false);
        let store_unreachable = &store_unreachable;
        iter(names)
            .for_each_concurrent(MAX_CONCURRENT, |name| async move {
                match self.unit_manager.unload(&name).await {
                    Ok(_) => {
                        self.local_units.remove(&name);
                        if !store_unreachable.load(Ordering::Relaxed) {
                            let released =
                                timeout(self.settings.heartbeat_timeout(), self.release_unit(&name)).await;
                            store_unreachable.fetch_or(released.is_err(), Ordering::Relaxed);
                        }
                    }
                    Err(error) => tracing::error!("Failed to unload Unit({name}): {error}"),
                }
            })
            .await;
        if let Err(error) = self.unit_manager.daemon_reload().await {
            tracing::warn!("systemd does not read its units again: {error}");
        }
    }

    /// Lets another machine take the unit while others are still being stopped here.
    async fn release_unit(&self, name: &UnitName) {
        self.withdraw_keys(name).await;
        let precondition = Precondition::Value(self.settings.machine_id.to_string());
        match self.store.delete(&Key::Target(name.clone()), precondition).await {
            // The unit is global, or already assigned to another machine.
            Ok(_) | Err(StoreError::Rejected(_)) => {}
            Err(error) => tracing::debug!("giving Unit({name}) away: {error}"),
        }
    }
}
