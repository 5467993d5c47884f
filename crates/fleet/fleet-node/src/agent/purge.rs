//! Leaving the cluster: nothing of it stays on the machine.

use std::sync::atomic::{AtomicBool, Ordering};

use fleet_core::registry::Key;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::agent::Agent;
use crate::hands::Hands;
use crate::limits::AT_A_TIME;
use crate::store::{Only, Store, StoreError};

impl<S: Store, H: Hands> Agent<S, H> {
    /// Stops and removes every unit, and takes back what was said of it. Nothing else may run of this agent.
    pub async fn purge(&self) {
        let names = self.there.names();
        tracing::info!("stopping and removing {} units", names.len());
        // One wait for a store that is away: what was said ends by itself.
        let away = AtomicBool::new(false);
        let away = &away;
        iter(names)
            .for_each_concurrent(AT_A_TIME, |name| async move {
                match self.hands.unload(&name).await {
                    Ok(_) => {
                        self.there.gone(&name);
                        if !away.load(Ordering::Relaxed) {
                            let given = timeout(self.settings.patience(), self.give_away(&name)).await;
                            away.fetch_or(given.is_err(), Ordering::Relaxed);
                        }
                    }
                    Err(error) => tracing::error!("Failed to unload Unit({name}): {error}"),
                }
            })
            .await;
        if let Err(error) = self.hands.reload().await {
            tracing::warn!("systemd does not read its units again: {error}");
        }
    }

    /// Another machine may have it now, while other units are still being stopped here.
    async fn give_away(&self, name: &UnitName) {
        self.take_back_words(name).await;
        let me = Only::Value(self.settings.me.to_string());
        match self.store.delete(&Key::Target(name.clone()), me).await {
            // It is global, or another machine's already.
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => tracing::debug!("giving Unit({name}) away: {error}"),
        }
    }
}
