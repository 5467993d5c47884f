//! Limits.

use std::time::Duration;

/// Maximum size of a response body.
pub const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// Maximum size of a watch event: old and new value of maximum size, escaped.
pub const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// Maximum size of responses of `/health` and of texts in errors.
pub const MAX_SMALL_RESPONSE_BYTES: usize = 64 * 1024;

/// Maximum number of redirects.
pub const MAX_REDIRECTS: usize = 10;

/// Idle connections per endpoint.
pub const MAX_IDLE_CONNECTIONS: usize = 8;

/// Idle connections are closed after this time.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// TCP keepalive of a watch: idle time, interval, number of probes.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub const KEEPALIVE_PROBES: u32 = 3;

/// Consecutive reconnects of a watch without an event, after which it fails.
pub const MAX_EMPTY_WATCHES: u32 = 100;

/// Pause before such a reconnect.
pub const EMPTY_WATCH_DELAY: Duration = Duration::from_millis(100);

/// Defaults of etcdctl.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
