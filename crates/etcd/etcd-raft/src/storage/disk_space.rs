//! Whether the disk of the log is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether the disk of the log has free space. The next segment is allocated ahead, so a full disk is noticed while
/// the current segment still has room for raft's own writes.
#[derive(Debug, Clone, Default)]
pub struct DiskSpace {
    /// The number of writers that wait for space.
    waiting: Arc<AtomicUsize>,
}

impl DiskSpace {
    pub fn is_available(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Marks the disk as full until the result is dropped.
    pub fn report_full(&self, error: &dyn std::fmt::Display) -> DiskFull {
        tracing::error!(%error, "the disk is full: writes are refused until there is room");
        self.waiting.fetch_add(1, Ordering::Relaxed);
        DiskFull(self.clone())
    }
}

/// A writer that waits for space.
pub struct DiskFull(DiskSpace);

impl Drop for DiskFull {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("the log does not wait for room any more");
    }
}
