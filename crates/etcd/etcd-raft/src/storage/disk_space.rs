//! Whether the log's disk has room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether the log's disk has room. It is asked for before there is none: the next segment is made
/// while the current one still takes what raft itself has to write.
#[derive(Debug, Clone, Default)]
pub struct DiskSpace {
    /// How many wait for it.
    waiting: Arc<AtomicUsize>,
}

impl DiskSpace {
    pub fn is_available(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Until the answer is dropped, there is none.
    pub fn report_full(&self, error: &dyn std::fmt::Display) -> DiskFull {
        tracing::error!(%error, "the disk is full: writes are refused until there is room");
        self.waiting.fetch_add(1, Ordering::Relaxed);
        DiskFull(self.clone())
    }
}

/// Somebody waits.
pub struct DiskFull(DiskSpace);

impl Drop for DiskFull {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("the log does not wait for room any more");
    }
}
