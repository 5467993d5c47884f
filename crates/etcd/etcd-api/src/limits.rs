//! Limits of requests.

/// Maximum size of a form body, as in Go's form parser.
pub const MAX_BODY_BYTES: usize = 10 << 20;
/// Maximum size of a decoded key; equal to the listener's limit of a request head.
pub const MAX_KEY_BYTES: usize = 1 << 20;
/// Maximum number of segments of a key, since listings and their JSON are nested as deep.
pub const MAX_KEY_LEVELS: usize = 4_096;
/// Maximum TTL; etcd's own arithmetic overflows above it.
pub const MAX_TTL_SECONDS: u64 = 9_000_000_000;
