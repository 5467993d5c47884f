//! Limits of what is read.

/// Bytes of a compressed feed. Debian's has 2 MB for a release.
pub const COMPRESSED_BYTES: usize = 64 << 20;
/// Bytes of a feed.
pub const FEED_BYTES: usize = 512 << 20;
/// Bytes of dpkg's status. A full desktop has 10 MB.
pub const STATUS_BYTES: usize = 256 << 20;
/// Bytes of the head of a copy.
pub const HEAD_BYTES: usize = 4096;
