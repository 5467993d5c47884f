//! All limits of the server: sizes, counts and timeouts.

use std::time::Duration;

/// Size of request line and headers.
pub const HEAD_BYTES: usize = 64 * 1024;
/// From the end of the previous response to the end of the headers; includes the idle time of a connection.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two chunks of a request body.
pub const BODY_CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// For a complete request body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Memory of all request bodies in use.
pub const BODY_BUDGET_BYTES: usize = 4 * fleet_api::BODY_BYTES;
/// Size of the rest of a rejected body that is discarded, so that the client reads the response.
pub const DRAIN_BYTES: u64 = fleet_api::BODY_BYTES as u64;
/// Time limit of discarding.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Larger bodies are parsed on a thread, to not delay heartbeats.
pub const INLINE_PARSE_BYTES: usize = 256 * 1024;
/// Without progress of a write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Per listener; further connections wait in the kernel's queue. Clients on the network cannot exhaust the connections
/// of the local socket.
pub const MAX_CONNECTIONS: usize = 256;
/// For pending requests at shutdown.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Operations per `PATCH`; each is a write to the store.
pub const MAX_PATCHES: usize = 1024;
/// Concurrent processes of systemctl and journalctl.
pub const MAX_PROGRAMS: usize = 32;
/// Of systemctl.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// Output of systemctl.
pub const STATUS_BYTES: u64 = 1024 * 1024;
/// Default number of journal lines.
pub const JOURNAL_LINES: u32 = 10;
/// Buffered chunks of a journal per client.
pub const JOURNAL_CHUNKS: usize = 4;
/// Size of such a chunk.
pub const JOURNAL_CHUNK_BYTES: usize = 16 * 1024;
/// Interval of checks for a disconnect if the client has already sent another request.
pub const PEEK_INTERVAL: Duration = Duration::from_secs(1);
