//! What can grow, and how far. Anybody may send anything here.

use std::time::Duration;

/// Larger than any cloud takes as user-data.
pub const BODY_BYTES: usize = 2 << 20;
pub const BODY_TIME: Duration = Duration::from_secs(30);
pub const HEAD_TIME: Duration = Duration::from_secs(30);
pub const CONNECTIONS: usize = 256;
/// Texts that are looked at at once; more wait.
pub const AT_ONCE: usize = 4;
/// At the end, answers that are being written get so long.
pub const GRACE: Duration = Duration::from_secs(2);
