//! What this side of the interface accepts at most.

/// A form body above this is refused, as Go's form parser does.
pub const MAX_BODY_BYTES: usize = 10 << 20;
/// A key's bytes after decoding. The listener's limit on the whole request head is the same.
pub const MAX_KEY_BYTES: usize = 1 << 20;
/// A key's segments: listings and their JSON nest as deep as the tree does.
pub const MAX_KEY_LEVELS: usize = 4_096;
/// Above this etcd's own arithmetic overflows; it is refused instead.
pub const MAX_TTL_SECONDS: u64 = 9_000_000_000;
