//! Limits, intervals and timeouts.

use std::time::Duration;

/// Events that a subscriber may lag behind before it resyncs.
pub const EVENT_BUFFER: usize = 4096;
/// Changes that the scheduler for queries may lag behind before it is rebuilt.
pub const MAX_PENDING: usize = 65_536;
/// Concurrent requests to the store or to systemd.
pub const MAX_CONCURRENT: usize = 16;
/// Interval of agent passes without an event.
pub const AGENT_INTERVAL: Duration = Duration::from_secs(5);
/// Backoff after a unit could not be loaded, started or unloaded. Doubles for permanent causes.
pub const REFUSAL_BACKOFF: Duration = Duration::from_millis(2500);
pub const MAX_REFUSAL_BACKOFF: Duration = Duration::from_secs(300);
/// How long a machine keeps refusing a unit that was moved to another one.
pub const REFUSAL_RETENTION: Duration = Duration::from_secs(300);
/// Interval of polling all states from systemd.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Interval of full reads of the registry: a minimum, and an amount per machine.
pub const RESYNC_INTERVAL: Duration = Duration::from_secs(60);
pub const RESYNC_INTERVAL_PER_MACHINE: Duration = Duration::from_secs(1);
/// Backoff between attempts to reach the store.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
pub const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// How long a new version of a unit must be active before the next machine gets it.
pub const SETTLE_TIME: Duration = Duration::from_secs(5);
/// Interval of scans for unused unit files and orphaned keys.
pub const GARBAGE_INTERVAL: Duration = Duration::from_secs(60);
/// Minimal time for a client's request including the wait until this node has observed the write. fleetctl waits three
/// seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long the engine waits to observe its write.
pub const OBSERVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between attempts of a client's request.
pub const REQUEST_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Events within this window are handled in one pass.
pub const BATCH_WINDOW: Duration = Duration::from_millis(5);
/// A unit that starts faster than this is reported as active only, which saves a write.
pub const STATE_DEBOUNCE: Duration = Duration::from_millis(400);
/// Changes of a key that are written immediately.
pub const CHANGE_BURST: u32 = 8;
/// Interval of further changes. The original polled at this rate.
pub const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum interval of the monitor's keep-alives.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
