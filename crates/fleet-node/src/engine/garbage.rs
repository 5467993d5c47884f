//! Deletes texts that no unit has had for a day, and what is left of destroyed units.

use std::time::Duration;

use cluster::registry::{Garbage, Key};
use tokio::time::timeout;
use unit_file::{UnitHash, UnitName};

use crate::engine::Engine;
use crate::limits::{GARBAGE_INTERVAL, SEEN};
use crate::store::{Only, Store, StoreError};

/// The original never deletes a text; who destroyed a unit may submit it again.
const TEXTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than a write of any engine can be on its way.
const REMAINS_KEPT: Duration = Duration::from_secs(60);

pub struct Collector {
    texts: Garbage<UnitHash>,
    remains: Garbage<UnitName>,
    next: Duration,
    /// To delete, as of the last scan.
    old_texts: Vec<UnitHash>,
    old_remains: Vec<UnitName>,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            texts: Garbage::new(TEXTS_KEPT),
            remains: Garbage::new(REMAINS_KEPT),
            next: Duration::ZERO,
            old_texts: Vec::new(),
            old_remains: Vec::new(),
        }
    }
}

impl Collector {
    /// Deletes one text at most, or the remains of one unit: the lease is renewed between two calls.
    pub async fn step<S: Store>(&mut self, engine: &Engine<S>) {
        let now = engine.settings.clock.now();
        if now >= self.next {
            self.next = now + GARBAGE_INTERVAL;
            engine.known.look(|view| {
                self.old_texts = self.texts.step(now, view.unused());
                self.old_remains = self.remains.step(now, view.remains().cloned());
            });
        }
        if let Some(name) = self.old_remains.pop() {
            match delete_remains(engine, &name).await {
                Ok(()) => tracing::info!("deleted what was left of Unit({name}), which was destroyed"),
                Err(error) => tracing::debug!("deleting what is left of Unit({name}): {error}"),
            }
        } else if let Some(hash) = self.old_texts.pop() {
            match delete(engine, hash).await {
                Ok(true) => tracing::info!("deleted the text {hash}, which no unit has had for a day"),
                Ok(false) => {}
                Err(error) => tracing::debug!("deleting the text {hash}: {error}"),
            }
        }
    }
}

/// Leaves what is written for a new unit of the name meanwhile.
async fn delete_remains<S: Store>(engine: &Engine<S>, name: &UnitName) -> Result<(), StoreError> {
    for key in [Key::Target, Key::Pin, Key::Rollout, Key::TargetState].map(|key| key(name.clone())) {
        let Some(stored) = engine.store.get(&key).await? else { continue };
        if engine.store.get(&Key::JobObject(name.clone())).await?.is_some() {
            return Ok(());
        }
        match engine.store.delete(&key, Only::Index(stored.index)).await {
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
