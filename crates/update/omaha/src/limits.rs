//! What can grow, and how far.

/// Of a request, as the servers of the time had it.
pub const REQUEST_BYTES: usize = 64 << 10;
/// Of an answer: a real one has 2 KiB.
pub const RESPONSE_BYTES: usize = 1 << 20;
/// Elements, attributes and texts of one message.
pub const NODES: u32 = 20_000;
pub const APPS: usize = 16;
/// Of one app.
pub const EVENTS: usize = 64;
/// Code bases of one offer.
pub const URLS: usize = 64;
/// Of one offer.
pub const PACKAGES: usize = 256;
/// Of one offer.
pub const ACTIONS: usize = 64;
