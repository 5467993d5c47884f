//! Limits and timeouts.

use std::num::NonZeroUsize;
use std::time::Duration;

/// For calls that systemd answers immediately.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// A daemon-reload reads every unit file and runs generators.
pub(crate) const RELOAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Concurrent calls. Buses limit them, too.
pub(crate) const MAX_CALLS_IN_FLIGHT: usize = 256;
/// Messages received and not handled yet.
pub(crate) const MESSAGE_QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// How long a failed connection attempt is reported to other callers without a new attempt.
pub(crate) const FAILURE_CACHE_TIME: Duration = Duration::from_millis(100);
/// Interval of attempts to reconnect.
pub(crate) const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);
/// Retries of an operation over an unstable bus: ten seconds in total.
pub(crate) const MAX_RETRIES: u32 = 40;

/// Added to the unit's own stop timeout.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);
/// For units without a stop timeout: systemd's default.
pub(crate) const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// Interval of polling an awaited job, in case that its signal was lost.
pub(crate) const JOB_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Events buffered per subscriber.
pub(crate) const EVENT_BUFFER: usize = 256;
/// Units with pending changes per subscriber. On overflow it must read all states.
pub(crate) const MAX_PENDING_UNITS: usize = 4096;
/// Signals of a unit arrive in bursts: those within this time cause one query.
pub(crate) const COALESCE_INTERVAL: Duration = Duration::from_millis(20);

/// Unrecognized file names that are remembered, to log each once.
pub(crate) const MAX_UNRECOGNIZED: usize = 1024;
