//! Whether the log's disk has room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether the log's disk has room. It is asked for before there is none: the next segment is made
/// while the current one still takes what raft itself has to write.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// How many wait for it.
    waiting: Arc<AtomicUsize>,
}

impl Room {
    pub fn is_there(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Until the answer is dropped, there is none.
    pub fn wait(&self, error: &dyn std::fmt::Display) -> NoRoom {
        tracing::error!(%error, "the disk is full: writes are refused until there is room");
        self.waiting.fetch_add(1, Ordering::Relaxed);
        NoRoom(self.clone())
    }
}

/// Somebody waits.
pub struct NoRoom(Room);

impl Drop for NoRoom {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("the log does not wait for room any more");
    }
}
