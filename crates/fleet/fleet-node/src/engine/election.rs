//! Leader election.

use tokio::time::sleep;

use crate::engine::Engine;
use crate::engine::garbage::Collector;
use crate::store::Store;

impl<S: Store> Engine<S> {
    /// Never returns.
    pub async fn run(self) {
        if self.settings.disable_engine {
            tracing::info!("Not starting engine; disable-engine is set");
            return std::future::pending().await;
        }
        let garbage = Collector::default();
        tokio::join!(self.run_elections(&garbage), garbage.scan(&self));
    }

    /// Waits for the lease and leads while this node holds it. Never returns.
    async fn run_elections(&self, garbage: &Collector) {
        loop {
            let lease = self.acquire_lease().await;
            sleep(lease.wait).await;
            tracing::info!("Engine leadership acquired");
            self.metrics.leading(true);
            self.lead(lease, garbage).await;
            self.metrics.leading(false);
            self.set_lease_index(None);
            tracing::info!("Engine leadership lost");
        }
    }
}
