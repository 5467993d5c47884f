//! How long the way to the other members is, told as it is measured, for whoever keeps measures. It must never
//! hold up who tells.

use std::time::Duration;

/// Told from the tasks that keep the connections. The unit type takes no notice.
pub trait PeerMetrics: Send + Sync + 'static {
    /// A ping to the member `to` was answered.
    fn round_trip(&self, to: u64, took: Duration);
}

impl PeerMetrics for () {
    fn round_trip(&self, _: u64, _: Duration) {}
}
