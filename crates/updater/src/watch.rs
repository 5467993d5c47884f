//! Who is told how an update goes.

use update::status::Operation;

/// What an update tells, and what it asks.
pub trait Watch: Sync {
    fn operation(&self, operation: Operation);
    /// The version and the bytes to download, once they are known.
    fn found(&self, version: &str, bytes: u64);
    /// Bytes downloaded, and to download.
    fn progress(&self, done: u64, total: u64);
    /// Asked often: whether to stop at the next good moment.
    fn cancelled(&self) -> bool;
}
