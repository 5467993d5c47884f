//! Leaving the cluster: nothing of it stays on the machine.

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::time::timeout;

use crate::agent::Agent;
use crate::hands::Hands;
use crate::limits::AT_A_TIME;
use crate::store::Store;

impl<S: Store, H: Hands> Agent<S, H> {
    /// Stops and removes every unit, and takes back what was said of it. Nothing else may run of this agent.
    pub async fn purge(&self) {
        let names = self.there.names();
        tracing::info!("stopping and removing {} units", names.len());
        iter(names)
            .for_each_concurrent(AT_A_TIME, |name| async move {
                match self.hands.unload(&name).await {
                    Ok(()) => {
                        self.there.gone(&name);
                        // With the store away, what was said ends by itself.
                        let patience = self.settings.patience();
                        timeout(patience, self.take_back_words(&name)).await.unwrap_or(());
                    }
                    Err(error) => tracing::error!("Failed to unload Unit({name}): {error}"),
                }
            })
            .await;
        if let Err(error) = self.hands.reload().await {
            tracing::warn!("systemd does not read its units again: {error}");
        }
    }
}
