//! A hook for peer latency metrics.

use std::time::Duration;

/// Called by the tasks of the connections, so implementations must not block. The unit type ignores all observations.
pub trait PeerMetrics: Send + Sync + 'static {
    /// A ping to the member `to` was answered after `took`.
    fn round_trip(&self, to: u64, took: Duration);
}

impl PeerMetrics for () {
    fn round_trip(&self, _: u64, _: Duration) {}
}
