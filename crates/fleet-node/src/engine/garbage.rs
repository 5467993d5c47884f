//! Deletes texts that no unit has had for a day.

use std::time::Duration;

use cluster::registry::{Garbage, Key};
use tokio::time::timeout;
use unit_file::UnitHash;

use crate::engine::Engine;
use crate::limits::{GARBAGE_INTERVAL, SEEN};
use crate::store::{Only, Store, StoreError};

#[derive(Default)]
pub struct Collector {
    garbage: Garbage,
    next: Duration,
    /// Unit files to delete, as of the last scan.
    old: Vec<UnitHash>,
}

impl Collector {
    /// Deletes one text at most: the lease is renewed between two calls.
    pub async fn step<S: Store>(&mut self, engine: &Engine<S>) {
        let now = engine.settings.clock.now();
        if now >= self.next {
            self.next = now + GARBAGE_INTERVAL;
            let unused: Vec<_> = engine.known.look(|view| view.unused().collect());
            self.old = self.garbage.step(now, unused);
        }
        let Some(hash) = self.old.pop() else { return };
        match delete(engine, hash).await {
            Ok(true) => tracing::info!("deleted the text {hash}, which no unit has had for a day"),
            Ok(false) => {}
            Err(error) => tracing::debug!("deleting the text {hash}: {error}"),
        }
    }
}

/// Whether the text was deleted for good.
async fn delete<S: Store>(engine: &Engine<S>, hash: UnitHash) -> Result<bool, StoreError> {
    let key = Key::Unit(hash);
    let is_used = || engine.known.look(|view| view.is_used(hash));
    let Some(stored) = engine.store.get(&key).await?.filter(|_| !is_used()) else { return Ok(false) };
    let deleted = engine.store.delete(&key, Only::Index(stored.index)).await?;
    // A client that submitted a unit with this text meanwhile found it present and did not write it.
    let seen = timeout(SEEN, engine.known.reached(deleted)).await;
    if seen.is_ok() && !is_used() {
        return Ok(true);
    }
    engine.store.put(&key, &stored.value, None, Only::Absent).await?;
    Ok(false)
}
