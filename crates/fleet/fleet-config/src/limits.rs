//! What may grow, and bounds of values.

use std::time::Duration;

/// Bytes of the file.
pub const FILE_BYTES: usize = 1024 * 1024;
/// Addresses of the store.
pub const SERVERS: usize = 64;
/// A presence in the store lives whole seconds, and at least one.
pub const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// The engine's lease lives five times as long, which is at least a second.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);
/// No time that is set is longer: more is a slip of the pen.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
