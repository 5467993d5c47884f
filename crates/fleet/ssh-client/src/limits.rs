//! What may grow, and how far.

/// A file of known hosts. More is refused.
pub const KNOWN_HOSTS_BYTES: u64 = 16 * 1024 * 1024;

/// Of what `ssh` reports about one connection. What came before is forgotten.
pub const REPORT_BYTES: usize = 16 * 1024;

/// A file of the folder, such as the one with the host's key, and the list of an agent. The rest is not read.
pub const ANSWER_BYTES: u64 = 256 * 1024;

/// A message on the control socket. Replies carry a reason of a few words.
pub const MESSAGE_BYTES: u32 = 64 * 1024;

/// What is copied at once.
pub const COPY_BYTES: usize = 64 * 1024;

/// Of a command's output that is not shown as it comes.
pub const OUTPUT_BYTES: u64 = 4 << 20;
