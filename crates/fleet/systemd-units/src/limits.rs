//! What may grow or last, and how far.

use std::num::NonZeroUsize;
use std::time::Duration;

/// For answers that need no work of systemd's.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// A reload reads every unit file and runs generators.
pub(crate) const RELOAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Calls that wait for their answers at one time. Buses limit them, too.
pub(crate) const MAX_CALLS_IN_FLIGHT: usize = 256;
/// Messages that were read from the bus and not looked at yet.
pub(crate) const MESSAGE_QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// How long a refused connection answers for those that come just after it.
pub(crate) const FAILURE_CACHE_TIME: Duration = Duration::from_millis(100);
/// Between two tries to reach a bus that was lost.
pub(crate) const RECONNECT_INTERVAL: Duration = Duration::from_millis(250);
/// Tries of one piece of work over a bus that comes and goes: ten seconds in sum.
pub(crate) const MAX_RETRIES: u32 = 40;

/// What a stop may take beyond the unit's own limit.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);
/// The limit of units that have none of their own: systemd's default.
pub(crate) const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a job that is waited for is looked up, in case that the word of its end was lost.
pub(crate) const JOB_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Changes that wait for one reader.
pub(crate) const EVENT_BUFFER: usize = 256;
/// Units that have news for one reader; with more it is told to ask for all.
pub(crate) const MAX_PENDING_UNITS: usize = 4096;
/// News of one unit come in bursts: what comes within it is one question to systemd.
pub(crate) const COALESCE_INTERVAL: Duration = Duration::from_millis(20);

/// Names of files that are no units, remembered so that each is logged once.
pub(crate) const MAX_UNRECOGNIZED: usize = 1024;
