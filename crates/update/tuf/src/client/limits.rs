//! Limits on everything that a server decides.

/// Sizes in bytes of files whose length is not signed, and numbers of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the roles")]
pub struct Limits {
    pub root: u64,
    pub timestamp: u64,
    pub snapshot: u64,
    pub targets: u64,
    /// New roots in one update.
    pub roots: u64,
    /// Roles that are visited in a search for one target.
    pub roles: usize,
    /// Seconds from the start of an update until a new timestamp expires, which the specification does not limit: a
    /// stolen timestamp key could freeze a client for years.
    pub timestamp_validity: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root: 512 << 10,
            timestamp: 16 << 10,
            snapshot: 2 << 20,
            targets: 5 << 20,
            roots: 256,
            roles: 32,
            timestamp_validity: None,
        }
    }
}
