//! All limits of the front end.

use std::time::Duration;

/// Request line and headers, as in Go's server. hyper's limit of 100 header fields remains, since changing it costs
/// an allocation per request.
pub const MAX_HEAD_BYTES: usize = 1 << 20;
/// A form or a JSON document.
pub const MAX_BODY_BYTES: usize = 10 << 20;
/// Timeout of a request's head, from its first byte.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout between two parts of a request's body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// Timeout of a client that does not read its response.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of a TLS handshake, including its first byte.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a client to read the alert after a failed handshake.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes discarded in that time.
pub const MAX_LINGER_BYTES: usize = 64 << 10;
/// Pipelined bytes that are kept during a watch.
pub const MAX_PIPELINED_BYTES: usize = 16 << 10;
/// File descriptors reserved for the log, peers and disk.
pub const RESERVED_FILES: u64 = 150;
/// Maximum number of connections if files are unlimited.
pub const MAX_CONNECTIONS: usize = 1 << 20;
/// Idle time after which a connection releases its buffers.
pub const IDLE_RELEASE_TIME: Duration = Duration::from_secs(10);
/// Maximum number of connections to `-listen-metrics-urls`, and the time after which an idle one is closed.
pub const MAX_METRICS_CONNECTIONS: usize = 64;
pub const METRICS_IDLE_TIME: Duration = Duration::from_secs(60);
/// TCP keepalive interval.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
/// Initial and maximum pause after a failed accept, such as without file descriptors.
pub const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// Backlog of listening sockets.
pub const BACKLOG: i32 = 4096;
/// Maximum size of a certificate or key file.
pub const MAX_CERTIFICATE_BYTES: u64 = 4 << 20;
/// Concurrent bcrypt runs; each uses a core for tens of milliseconds.
pub const MAX_CONCURRENT_BCRYPT: usize = 2;
/// bcrypt cost, as in etcd.
pub const BCRYPT_COST: u32 = 10;
/// Cached verified credentials.
pub const MAX_CACHED_CREDENTIALS: usize = 1024;
/// Timeout of the linearizable read of `/health`.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// Queued events of a slow reader before its watch is closed.
pub const MAX_QUEUED_EVENTS: usize = 100;
/// Interval of expiration in `Local`, as of etcd's SYNC.
pub const EXPIRY_TICK: Duration = Duration::from_millis(500);

/// Proxy: idle connections per endpoint.
pub const MAX_PROXY_IDLE_CONNECTIONS: usize = 64;
/// Proxy: maximum number of endpoints.
pub const MAX_PROXY_ENDPOINTS: usize = 1024;
/// Proxy: maximum size of a member list.
pub const MAX_MEMBER_LIST_BYTES: usize = 1 << 20;
/// Proxy: refresh interval while no endpoint is known.
pub const PROXY_REFRESH_EMPTY: Duration = Duration::from_secs(1);
