//! Every limit of the log.

/// The unit that a disk writes atomically.
pub const SECTOR_BYTES: usize = 512;
/// Checksum, flush, first sector of the flush, bytes used.
pub const SECTOR_HEADER_BYTES: usize = 16;
/// The bytes of a sector that carry the record stream.
pub const SECTOR_DATA_BYTES: usize = SECTOR_BYTES - SECTOR_HEADER_BYTES;

/// The default size of a segment file.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// The minimum size of a segment, for tests.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// The maximum size of a segment: an offset in it fits 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The longest payload of an entry.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// The longest value of a state and the longest note of a purge point. Each new segment repeats them.
pub const STATE_BYTES_MAX: usize = 512;
/// The number of states of a log.
pub const STATE_KEYS_MAX: u8 = 8;

/// The maximum of unflushed bytes. Beyond it appending fails until a flush.
pub const UNFLUSHED_BYTES_MAX: usize = 128 << 20;
/// The default size of the cache of recent entries.
pub const CACHE_BYTES: usize = 32 << 20;
/// The size of a cached entry in addition to its payload.
pub const ENTRY_OVERHEAD_BYTES: usize = 64;

/// The size of one read from a segment.
pub const READ_BYTES: usize = 1 << 20;
