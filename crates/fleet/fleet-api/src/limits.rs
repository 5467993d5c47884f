//! What may grow, and how far.

/// A page of a list, where the server's configuration says nothing else.
pub const PAGE_ITEMS: u16 = 100;

/// A request's or an answer's body; a unit of the greatest size, each byte escaped, fits.
pub const BODY_BYTES: usize = 64 * 1024 * 1024;
