//! Limits of the API.

/// Default page size.
pub const PAGE_ITEMS: u16 = 100;

/// Bytes of a request or response body. A unit of maximum size fits, even if each byte is escaped.
pub const BODY_BYTES: usize = 64 * 1024 * 1024;
