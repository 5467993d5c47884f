//! What may grow, and how far.

/// A file of known hosts. More is refused.
pub const KNOWN_HOSTS_BYTES: u64 = 16 * 1024 * 1024;

/// Keys of the agent that are tried.
pub const IDENTITIES: usize = 32;

/// What is read from standard input at once.
pub const INPUT_BYTES: usize = 16 * 1024;

/// Reads of standard input that wait to be sent.
pub const INPUT_BUFFERS: usize = 4;
/// Of a command's output that is not shown as it comes.
pub const OUTPUT_BYTES: usize = 4 << 20;
