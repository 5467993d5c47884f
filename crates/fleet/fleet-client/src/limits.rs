//! What may grow, and how far.

/// Pages of one list; with the usual 100 items each that is far more than a cluster has.
pub const PAGES: usize = 10_000;

/// Names in the address of one request, in bytes.
pub const NAMES_BYTES: usize = 4096;
