//! What may not grow without end, and constants of time.

use std::time::Duration;

/// Changes that a part of the node may be behind before it looks at everything.
pub const EVENT_BUFFER: usize = 4096;
/// Changes that the scheduler for questions may be behind before it is made anew.
pub const MAX_PENDING: usize = 65_536;
/// Requests to the store, or to systemd, at a time.
pub const MAX_CONCURRENT: usize = 16;
/// Between two looks of the agent although nothing was told.
pub const AGENT_INTERVAL: Duration = Duration::from_secs(5);
/// A unit that could not be loaded, started or unloaded is left alone for this time: the next look of the agent tries it
/// again. Where the same would happen again, the time doubles with each try.
pub const REFUSAL_BACKOFF: Duration = Duration::from_millis(2500);
pub const MAX_REFUSAL_BACKOFF: Duration = Duration::from_secs(300);
/// So long a machine says that it cannot run a unit that went elsewhere: then the unit may come back.
pub const REFUSAL_RETENTION: Duration = Duration::from_secs(300);
/// Between two questions to systemd for all states.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Between two readings of everything, at least, and for each machine in the cluster.
pub const RESYNC_INTERVAL: Duration = Duration::from_secs(60);
pub const RESYNC_INTERVAL_PER_MACHINE: Duration = Duration::from_secs(1);
/// The longest wait between two tries to reach the store.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
pub const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// How long a unit with a new text must be active before the next machine gets it.
pub const SETTLE_TIME: Duration = Duration::from_secs(5);
/// Between two looks for what nothing refers to any more.
pub const GARBAGE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a client's request is worked at, and its answer then waits for this node to see what was written: less than the
/// three seconds that fleetctl waits.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long the engine waits to see what it wrote.
pub const OBSERVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two questions to a store that does not answer them.
pub const REQUEST_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// What is told within this time is looked at in one pass.
pub const BATCH_WINDOW: Duration = Duration::from_millis(5);
/// A unit that is starting for less is told to be active only: it costs one write less, and most are.
pub const STATE_DEBOUNCE: Duration = Duration::from_millis(400);
/// Changes of one word that are written as soon as they are known.
pub const CHANGE_BURST: u32 = 8;
/// After so many, one in this time: it is the rhythm in which the original looked.
pub const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval between two keep-alives of the guard.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
