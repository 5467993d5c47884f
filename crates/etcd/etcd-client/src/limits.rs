//! What may grow, and how far.

use std::time::Duration;

/// An answer that is longer is refused: listings of a whole store stay far below.
pub const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// One event of a watch: twice the largest value, for its old and new content, and room for escapes.
pub const EVENT_BYTES: usize = 64 * 1024 * 1024;

/// Answers of `/health`, and texts that are shown in errors.
pub const SMALL_ANSWER_BYTES: usize = 64 * 1024;

/// How many redirections of one request are followed.
pub const REDIRECTS: usize = 10;

/// Idle connections that are kept per endpoint.
pub const IDLE_CONNECTIONS: usize = 8;

/// After this time an idle connection is closed.
pub const IDLE_TIME: Duration = Duration::from_secs(60);

/// A silent peer of a watch is asked for a sign of life after this time, in these intervals, this often.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub const KEEP_ALIVE_TRIES: u32 = 3;

/// A watch whose connection ends without an event is opened again at most this often in a row before the
/// caller is told: an endpoint that always does so is broken.
pub const EMPTY_WATCHES: u32 = 100;

/// The time that a watch waits before it opens such a connection again.
pub const EMPTY_WATCH_PAUSE: Duration = Duration::from_millis(100);

/// What the defaults of etcdctl were.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
