//! Limits of requests from untrusted clients.

use std::time::Duration;

/// Larger than the user-data limit of any cloud provider.
pub const BODY_MAX: usize = 2 << 20;
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
pub const CONNECTIONS: usize = 256;
/// Concurrent checks; further ones wait.
pub const CONCURRENT_CHECKS: usize = 4;
/// How long responses in progress may take at shutdown.
pub const GRACE: Duration = Duration::from_secs(2);
