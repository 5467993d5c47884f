//! Every limit of the front, once. No other file names a size, a count or a deadline.

use std::time::Duration;

/// Request line and headers together, as Go's server has it. (hyper's own limit of 100 fields stays: any other
/// would cost it an allocation a request.)
pub const HEAD_BYTES: usize = 1 << 20;
/// A form, or a JSON document.
pub const BODY_BYTES: usize = 10 << 20;
/// From the first byte of a request's head to its last.
pub const HEAD_TIME: Duration = Duration::from_secs(30);
/// Between two pieces of a request's body.
pub const BODY_PIECE_TIME: Duration = Duration::from_secs(30);
/// For a request's whole body.
pub const BODY_TIME: Duration = Duration::from_secs(300);
/// Without one byte taken by a client that has an answer coming.
pub const WRITE_TIME: Duration = Duration::from_secs(60);
/// A TLS handshake, or the first byte that tells that there will be none.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// After a refused handshake: so long the client may take to read why.
pub const LINGER_TIME: Duration = Duration::from_secs(1);
/// What a client sent meanwhile is thrown away up to here.
pub const LINGER_BYTES: usize = 64 << 10;
/// Pipelined bytes that are kept while a watch has the connection.
pub const PIPELINED_BYTES: usize = 16 << 10;
/// File descriptors that the log, the peers and the disk keep for themselves.
pub const RESERVED_FILES: u64 = 150;
/// Connections served at once where the limit of files says nothing.
pub const MOST_CONNECTIONS: usize = 1 << 20;
/// After so long without a request a connection gives its buffers back.
pub const REST_TIME: Duration = Duration::from_secs(10);
/// How often a silent peer is asked whether it lives.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
/// First and longest pause after accept failed (no more files).
pub const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// Connections that the kernel queues for us.
pub const BACKLOG: i32 = 4096;
/// The certificate files are looked at no more often than this.
pub const CERTIFICATE_LOOK: Duration = Duration::from_millis(500);
/// One file of certificates or one key.
pub const CERTIFICATE_BYTES: u64 = 4 << 20;
/// bcrypt runs at once: each holds a core for tens of milliseconds.
pub const BCRYPT_AT_ONCE: usize = 2;
/// bcrypt's cost, as etcd's.
pub const BCRYPT_COST: u32 = 10;
/// Verified name and password pairs that are remembered.
pub const CREDENTIALS_KEPT: usize = 1024;
/// `/health` answers "false" when a linearizable read takes longer.
pub const HEALTH_TIME: Duration = Duration::from_secs(1);
/// Events that wait for one slow reader before its watch is ended.
pub const WATCH_QUEUE: usize = 100;
/// Local's clock for expiry, as the leader's SYNC.
pub const EXPIRY_TICK: Duration = Duration::from_millis(500);

/// Proxy: idle connections kept to one endpoint.
pub const PROXY_IDLE: usize = 64;
/// Proxy: endpoints that a list may have.
pub const PROXY_ENDPOINTS: usize = 1024;
/// Proxy: one member's list of members.
pub const PROXY_LIST_BYTES: usize = 1 << 20;
/// Proxy: how often a member list is asked for while none is known.
pub const PROXY_REFRESH_EMPTY: Duration = Duration::from_secs(1);
