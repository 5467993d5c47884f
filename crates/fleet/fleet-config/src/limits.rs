//! Size limits, and bounds of values.

use std::time::Duration;

/// Size of the configuration file.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Number of etcd endpoints.
pub const MAX_SERVERS: usize = 64;
/// TTLs in etcd are whole seconds.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// The engine's lease of five intervals must be at least a second.
pub const MIN_INTERVAL: Duration = Duration::from_millis(200);
/// Longer durations are rejected as mistakes.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
