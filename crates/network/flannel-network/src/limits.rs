//! Limits of the conversation with the kernel.

use std::time::Duration;

/// Requests without an acknowledgement. Their acknowledgements fit into the default receive buffer of a socket.
pub const REQUESTS_IN_FLIGHT: usize = 64;
/// The kernel acknowledges within this time, also while others hold its lock of network devices.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// A dump that changes interrupt is repeated this often.
pub const DUMP_ATTEMPTS: u32 = 5;
/// Entries of a dump that are kept: more than a host has, less than its memory.
pub const MAX_ENTRIES: usize = 1 << 18;
/// A device that another program changes is corrected this often.
pub const DEVICE_ATTEMPTS: u32 = 4;
/// Bytes of one message of a multicast group.
pub const MAX_NOTIFICATION: usize = 64 * 1024;
