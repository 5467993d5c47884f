//! Limits of messages.

/// Size of a request, as in contemporary servers.
pub const REQUEST_BYTES: usize = 64 << 10;
/// Size of a response; a typical one has 2 KiB.
pub const RESPONSE_BYTES: usize = 1 << 20;
/// Elements, attributes and texts per message.
pub const NODES: u32 = 20_000;
/// Apps per message.
pub const APPS: usize = 16;
/// Per app.
pub const EVENTS: usize = 64;
/// Base URLs per offer.
pub const URLS: usize = 64;
/// Per offer.
pub const PACKAGES: usize = 256;
/// Per offer.
pub const ACTIONS: usize = 64;
