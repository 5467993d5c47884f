//! Leaving the cluster: nothing of it stays on the machine.

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
    /// Stops and removes every unit, and takes back what was said of it. Nothing else may run of this agent.
    pub async fn purge(&self) {
        let names = self.local_units.names();
        tracing::info!("stopping and removing {} units", names.len());
        // One wait for a store that is away: what was said ends by itself.
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

    /// Another machine may have it now, while other units are still being stopped here.
    async fn release_unit(&self, name: &UnitName) {
        self.withdraw_keys(name).await;
        let precondition = Precondition::Value(self.settings.machine_id.to_string());
        match self.store.delete(&Key::Target(name.clone()), precondition).await {
            // It is global, or another machine's already.
            Ok(_) | Err(StoreError::Rejected(_)) => {}
            Err(error) => tracing::debug!("giving Unit({name}) away: {error}"),
        }
    }
}
