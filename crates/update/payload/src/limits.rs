//! Limits of everything that can grow.

/// Maximum bytes per segment.
pub const SEGMENT_BYTES: u32 = 16 << 20;
/// Minimum bytes per segment: one block of dm-verity.
pub const MIN_SEGMENT_BYTES: u32 = 4096;
/// Size of an index. That of a 590 MiB image in 8 MiB segments has tens of KiB.
pub const MAX_INDEX_BYTES: usize = 1 << 20;
/// Size of an image, many times that of a slot.
pub const MAX_IMAGE_BYTES: u64 = 16 << 30;
/// Images per payload.
pub const MAX_IMAGES: usize = 8;
/// Length of an image's name.
pub const MAX_ROLE_BYTES: usize = 32;
/// Bytes of the old image per delta segment, held in memory.
pub const MAX_OLD_BYTES: u32 = 48 << 20;
