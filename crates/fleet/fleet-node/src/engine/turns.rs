//! Who leads when.

use tokio::time::sleep;

use crate::engine::Engine;
use crate::engine::garbage::Collector;
use crate::store::Store;

impl<S: Store> Engine<S> {
    /// Never ends.
    pub async fn run(self) {
        if self.settings.disable_engine {
            tracing::info!("Not starting engine; disable-engine is set");
            return std::future::pending().await;
        }
        let garbage = Collector::default();
        tokio::join!(self.take_turns(&garbage), garbage.follow(&self));
    }

    /// Waits for the lease, and leads as long as it has it. Never ends.
    async fn take_turns(&self, garbage: &Collector) {
        loop {
            let won = self.win().await;
            sleep(won.wait).await;
            tracing::info!("Engine leadership acquired");
            self.metrics.leading(true);
            self.lead(won, garbage).await;
            self.metrics.leading(false);
            self.set_held(None);
            tracing::info!("Engine leadership lost");
        }
    }
}
