//! Deletes texts that no unit has had for a day, and what is left of destroyed units.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_core::registry::{Garbage, Key};
use tokio::time::{sleep, timeout};
use unit_file::{UnitHash, UnitName};

use crate::engine::Engine;
use crate::limits::{GARBAGE_INTERVAL, SEEN};
use crate::store::{Only, Store, StoreError};

/// The original never deletes a text; who destroyed a unit may submit it again.
const TEXTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than a write of any engine can be on its way.
const REMAINS_KEPT: Duration = Duration::from_secs(60);

/// What is out of use, and since when. Every node keeps it: leaders who lead for less than a day would delete no text.
#[derive(Default)]
pub struct Collector(Mutex<Unused>);

struct Unused {
    texts: Garbage<UnitHash>,
    remains: Garbage<UnitName>,
    /// To delete, as of the last scan.
    old_texts: Vec<UnitHash>,
    old_remains: Vec<UnitName>,
}

impl Default for Unused {
    fn default() -> Self {
        Self {
            texts: Garbage::new(TEXTS_KEPT),
            remains: Garbage::new(REMAINS_KEPT),
            old_texts: Vec::new(),
            old_remains: Vec::new(),
        }
    }
}

impl Collector {
    fn unused(&self) -> MutexGuard<'_, Unused> {
        // invariant: nothing that is done under this lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never ends.
    pub async fn follow<S: Store>(&self, engine: &Engine<S>) {
        loop {
            sleep(GARBAGE_INTERVAL).await;
            let now = engine.settings.clock.now();
            engine.known.look(|view| {
                let mut unused = self.unused();
                unused.old_texts = unused.texts.step(now, view.unused());
                unused.old_remains = unused.remains.step(now, view.remains().cloned());
            });
        }
    }

    /// Deletes one text at most, or the remains of one unit: the leader renews its lease between two calls.
    pub async fn step<S: Store>(&self, engine: &Engine<S>) {
        let remains = self.unused().old_remains.pop();
        if let Some(name) = remains {
            match delete_remains(engine, &name).await {
                Ok(()) => tracing::info!("deleted what was left of Unit({name}), which was destroyed"),
                Err(error) => tracing::debug!("deleting what is left of Unit({name}): {error}"),
            }
            return;
        }
        let text = self.unused().old_texts.pop();
        if let Some(hash) = text {
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
