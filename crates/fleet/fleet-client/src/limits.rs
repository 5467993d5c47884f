//! Limits of requests.

/// Pages per list. With the default of 100 items per page, far more than a cluster has.
pub const MAX_PAGES: usize = 10_000;

/// Size of the names in a URL.
pub const MAX_NAMES_BYTES: usize = 4096;
