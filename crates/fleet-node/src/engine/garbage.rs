//! Deletes texts that no unit has had for a day.

use std::time::Duration;

use cluster::registry::{Garbage, Key};

use crate::engine::Engine;
use crate::limits::GARBAGE_INTERVAL;
use crate::store::{Only, Store};

#[derive(Default)]
pub struct Collector {
    garbage: Garbage,
    next: Duration,
}

impl Collector {
    /// Does nothing but once in a while.
    pub async fn step<S: Store>(&mut self, engine: &Engine<S>) {
        let now = engine.settings.clock.now();
        if now < self.next {
            return;
        }
        self.next = now + GARBAGE_INTERVAL;
        let unused: Vec<_> = engine.known.look(|view| view.unused().collect());
        for hash in self.garbage.step(now, unused) {
            let key = Key::Unit(hash);
            // By its index: who has submitted it since then keeps it.
            let stored = engine.store.get(&key).await;
            let still_unused = engine.known.look(|view| view.unused().any(|unused| unused == hash));
            if let (Ok(Some(stored)), true) = (stored, still_unused) {
                match engine.store.delete(&key, Only::Index(stored.index)).await {
                    Ok(_) => tracing::info!("deleted the text {hash}, which no unit has had for a day"),
                    Err(error) => tracing::debug!("deleting the text {hash}: {error}"),
                }
            }
        }
    }
}
