//! Limits. The service is open to anyone.

use std::time::Duration;

/// Tokens; more are rejected.
pub const MAX_TOKENS: usize = 100_000;
/// The maximum that the client accepts.
pub const MAX_SIZE: usize = 63;
/// Members of a cluster whose size is not given.
pub const DEFAULT_SIZE: usize = 3;
/// Registrations per token; more than members, since old clients register as proxies, too.
pub const MAX_REGISTRATIONS: usize = 256;
/// Size of a request's body.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// Length of the name in a registration.
pub const MAX_NAME_BYTES: usize = 256;
/// Open connections.
pub const MAX_CONNECTIONS: usize = 12_000;
/// Pending watches of all clients.
pub const MAX_WATCHES: usize = 10_000;
/// Events that the reader of a stream may lag behind.
pub const MAX_WATCH_LAG: usize = 64;
/// Unused tokens expire after this time.
pub const UNUSED_TOKEN_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Used tokens do not expire, since late proxies read them: the longest possible TTL.
pub const USED_TOKEN_TTL_SECONDS: u64 = 100 * 365 * 24 * 3600;
/// Interval of expiration.
pub const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);
/// The journal is compacted when it exceeds this size and twice its size after the last compaction.
pub const COMPACT_BYTES: u64 = 4 * 1024 * 1024;
/// Size of a record in the journal.
pub const MAX_RECORD_BYTES: u32 = 16 * 1024 * 1024;
/// Timeout of a request's header.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for pending responses at shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Rate limit per address: requests at once.
pub const RATE_BURST: f64 = 200.0;
/// The rate at which the burst is refilled.
pub const RATE_PER_SECOND: f64 = 50.0;
/// Cost of creating a token, in requests.
pub const NEW_TOKEN_COST: f64 = 10.0;
/// Addresses whose rate is tracked.
pub const MAX_ADDRESSES: usize = 20_000;
/// Timeout for connecting to the upstream etcd and for its response headers.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
