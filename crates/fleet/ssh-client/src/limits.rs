//! Size limits.

/// Known hosts file. Larger files are rejected.
pub const KNOWN_HOSTS_BYTES: u64 = 16 * 1024 * 1024;

/// Standard error of one `ssh` process. Older output is dropped.
pub const REPORT_BYTES: usize = 16 * 1024;

/// Files in the runtime directory and responses of an agent. The rest is not read.
pub const RESPONSE_BYTES: u64 = 256 * 1024;

/// Message on the control socket; replies are short.
pub const MESSAGE_BYTES: u32 = 64 * 1024;

/// Buffer of a copy.
pub const COPY_BYTES: usize = 64 * 1024;

/// Captured output of a command.
pub const OUTPUT_BYTES: u64 = 4 << 20;
