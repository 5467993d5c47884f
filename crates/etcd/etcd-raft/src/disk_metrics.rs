//! What the disk does, told as it happens, for whoever keeps measures. It must never hold up who tells.

use std::time::Duration;

/// Told from the threads that write. The unit type takes no notice.
pub trait DiskMetrics: Send + Sync + 'static {
    /// A flush of the log that put something on disk, up to the entry `last`.
    fn log_flushed(&self, took: Duration, last: Option<u64>);
    /// A checkpoint of the state was committed.
    fn checkpoint_committed(&self, took: Duration);
}

impl DiskMetrics for () {
    fn log_flushed(&self, _: Duration, _: Option<u64>) {}
    fn checkpoint_committed(&self, _: Duration) {}
}
