//! A hook for disk latency metrics.

use std::time::Duration;

/// Called by the threads that write, so implementations must not block. The unit type ignores all observations.
pub trait DiskMetrics: Send + Sync + 'static {
    /// A flush made the log durable up to the entry `last`.
    fn log_flushed(&self, took: Duration, last: Option<u64>);
    /// A checkpoint was committed.
    fn checkpoint_committed(&self, took: Duration);
}

impl DiskMetrics for () {
    fn log_flushed(&self, _: Duration, _: Option<u64>) {}
    fn checkpoint_committed(&self, _: Duration) {}
}
