//! Deletes unit files that no unit has used for a day, and orphaned keys of destroyed units.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_core::registry::{Key, RetentionTracker};
use tokio::time::{sleep, timeout};
use unit_file::{UnitHash, UnitName};

use crate::engine::Engine;
use crate::limits::{GARBAGE_INTERVAL, OBSERVE_TIMEOUT};
use crate::store::{Precondition, Store, StoreError};

/// The original never deletes unit files. A client may submit a destroyed unit again.
const TEXT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than a write of any engine can be in flight.
const ORPHAN_RETENTION: Duration = Duration::from_secs(60);

/// Unused unit files and orphaned units since when. Every node keeps them, since a leader may lead for less than a
/// day.
#[derive(Default)]
pub struct Collector(Mutex<Unused>);

struct Unused {
    texts: RetentionTracker<UnitHash>,
    orphans: RetentionTracker<UnitName>,
    /// Due for deletion since the last scan.
    expired_texts: Vec<UnitHash>,
    expired_orphans: Vec<UnitName>,
}

impl Default for Unused {
    fn default() -> Self {
        Self {
            texts: RetentionTracker::new(TEXT_RETENTION),
            orphans: RetentionTracker::new(ORPHAN_RETENTION),
            expired_texts: Vec::new(),
            expired_orphans: Vec::new(),
        }
    }
}

impl Collector {
    fn unused(&self) -> MutexGuard<'_, Unused> {
        // invariant: nothing under this lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never returns.
    pub async fn scan<S: Store>(&self, engine: &Engine<S>) {
        loop {
            sleep(GARBAGE_INTERVAL).await;
            let now = engine.settings.clock.now();
            engine.registry.with_view(|view| {
                let mut unused = self.unused();
                unused.expired_texts = unused.texts.step(now, view.unreferenced_files());
                unused.expired_orphans = unused.orphans.step(now, view.orphaned_units().cloned());
            });
        }
    }

    /// Deletes at most one unit file or the keys of one orphaned unit, so that the leader can renew its lease in
    /// between.
    pub async fn step<S: Store>(&self, engine: &Engine<S>) {
        let orphans = self.unused().expired_orphans.pop();
        if let Some(name) = orphans {
            match delete_orphan(engine, &name).await {
                Ok(()) => tracing::info!("deleted what was left of Unit({name}), which was destroyed"),
                Err(error) => tracing::debug!("deleting what is left of Unit({name}): {error}"),
            }
            return;
        }
        let text = self.unused().expired_texts.pop();
        if let Some(hash) = text {
            match delete_text(engine, hash).await {
                Ok(true) => tracing::info!("deleted the text {hash}, which no unit has had for a day"),
                Ok(false) => {}
                Err(error) => tracing::debug!("deleting the text {hash}: {error}"),
            }
        }
    }
}

/// Keeps keys that were written for a new unit of the same name.
async fn delete_orphan<S: Store>(engine: &Engine<S>, name: &UnitName) -> Result<(), StoreError> {
    for key in [Key::Target, Key::Pin, Key::Rollout, Key::TargetState].map(|key| key(name.clone())) {
        let Some(stored) = engine.store.get(&key).await? else { continue };
        if engine.store.get(&Key::JobObject(name.clone())).await?.is_some() {
            return Ok(());
        }
        match engine.store.delete(&key, Precondition::Index(stored.index)).await {
            Ok(_) | Err(StoreError::Rejected(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether the unit file was deleted.
async fn delete_text<S: Store>(engine: &Engine<S>, hash: UnitHash) -> Result<bool, StoreError> {
    let key = Key::Unit(hash);
    let is_used = || engine.registry.with_view(|view| view.is_used(hash));
    let Some(stored) = engine.store.get(&key).await?.filter(|_| !is_used()) else { return Ok(false) };
    let deleted = engine.store.delete(&key, Precondition::Index(stored.index)).await?;
    // A client that submitted the same unit file meanwhile found it present and did not write it.
    let observed = timeout(OBSERVE_TIMEOUT, engine.registry.wait_for_index(deleted)).await;
    if observed.is_ok() && !is_used() {
        return Ok(true);
    }
    engine.store.put(&key, &stored.value, None, Precondition::Absent).await?;
    Ok(false)
}
