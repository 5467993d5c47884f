//! Limits of the conversation with the kernel.

/// Requests without an acknowledgement. Their acknowledgements fit into the default receive buffer of a socket.
pub const REQUESTS_IN_FLIGHT: usize = 64;
/// A device that another program changes is corrected this often.
pub const DEVICE_ATTEMPTS: u32 = 4;
/// Bytes of one message of a multicast group.
pub const MAX_NOTIFICATION: usize = 64 * 1024;
