//! Limits of the conversation with the kernel.

use std::time::Duration;

/// The kernel acknowledges within this time, also while others hold its lock of network devices.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// A dump that changes interrupt is repeated this often.
pub const DUMP_ATTEMPTS: u32 = 5;
/// Entries of a dump that are kept: more than a host has, less than its memory.
pub const MAX_ENTRIES: usize = 1 << 18;
