//! Every limit of the log, in one place. It must never name anything else of the crate.

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Of a sector: its checksum, its flush, where that flush began, how much is used.
pub const SECTOR_HEADER_BYTES: usize = 16;
/// What is left of a sector for the stream of records.
pub const SECTOR_DATA_BYTES: usize = SECTOR_BYTES - SECTOR_HEADER_BYTES;

/// The usual size of a segment file.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// The smallest one: for tests, which want many.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// The largest one: an offset within it fits 32 bits with room.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The longest payload of an entry.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// The longest value of a state, and the longest note at a purge point: each new segment repeats them.
pub const STATE_BYTES_MAX: usize = 512;
/// How many states a log has.
pub const STATE_KEYS_MAX: u8 = 8;

/// Appended and not yet flushed: beyond this, appending is refused until a flush has made room.
pub const UNFLUSHED_BYTES_MAX: usize = 128 << 20;
/// Recent entries that stay in memory, unless the options say otherwise.
pub const CACHE_BYTES: usize = 32 << 20;
/// What an entry in memory counts besides its payload.
pub const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Read from a segment at once.
pub const READ_BYTES: usize = 1 << 20;
