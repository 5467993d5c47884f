//! What can grow, and how far.

/// Bytes of output that one frame gives; the last one of an image gives less.
pub const SEGMENT_BYTES: u32 = 16 << 20;
/// The smallest segment that an index may ask for: one block of dm-verity.
pub const SMALLEST_SEGMENT_BYTES: u32 = 4096;
/// Of an index's text. One of a 590 MiB image in 8 MiB segments has some 30 KiB.
pub const MAX_INDEX_BYTES: usize = 1 << 20;
/// Of one image: what fits a slot many times.
pub const MAX_IMAGE_BYTES: u64 = 16 << 30;
/// In one payload.
pub const MAX_IMAGES: usize = 8;
/// Of an image's name.
pub const MAX_ROLE_BYTES: usize = 32;
/// Of the old image that one segment of a delta may look at: it is held in memory.
pub const MAX_OLD_BYTES: u32 = 48 << 20;
