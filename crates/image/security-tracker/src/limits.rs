//! Limits of what is read.

/// Bytes of a compressed feed.
pub const COMPRESSED_BYTES: usize = 64 << 20;
/// Bytes of a feed.
pub const FEED_BYTES: usize = 512 << 20;
/// Bytes of dpkg's status; a package has about 1,000.
pub const STATUS_BYTES: usize = 256 << 20;
/// Bytes of the head of a copy.
pub const HEAD_BYTES: usize = 4096;
