//! The store as a node uses it: registry keys, with an index per change.

use std::time::Duration;

use fleet_core::registry::Key;
use unit_file::UnitName;

/// An etcd v2 service, or a model in tests. Cheap to clone. Every call has a timeout.
pub trait Store: Clone + Send + Sync + 'static {
    type Watch: Watch;

    /// Quorum read of all keys below the prefix.
    fn read(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// All changes after `index`, in order.
    fn watch(&self, after: u64) -> Self::Watch;

    /// Quorum read.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<StoredValue>, StoreError>> + Send;

    /// Writes a key if `precondition` holds. Returns the index of the write.
    fn put(
        &self,
        key: &Key,
        value: &str,
        ttl: Option<Duration>,
        precondition: Precondition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Sets the TTL of a key that has this value if `precondition` holds, without an event where the store supports it.
    /// Returns the index.
    ///
    /// An abandoned request may be executed after a newer one. Only a precondition on the index prevents that it
    /// shortens the key's life.
    fn refresh(
        &self,
        key: &Key,
        value: &str,
        ttl: Duration,
        precondition: Precondition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes a key if `precondition` holds. Returns the index.
    fn delete(
        &self,
        key: &Key,
        precondition: Precondition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes all keys below `job/NAME`. Returns the index.
    fn delete_job(&self, name: &UnitName) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Watches the keys below the prefix.
pub trait Watch: Send {
    /// Waits for the next change, without a timeout. Cancel safe. May be called again after
    /// [`StoreError::Unavailable`]; after [`StoreError::HistoryCleared`] a full read is needed.
    fn next(&mut self) -> impl Future<Output = Result<Change, StoreError>> + Send;
}

/// Condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    Always,
    /// The key does not exist.
    Absent,
    /// The key exists.
    Present,
    /// The key has this value.
    Value(String),
    /// The key's modifiedIndex.
    Index(u64),
}

/// All keys at one index. Paths are relative to the prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub pairs: Vec<(String, String)>,
    pub index: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredValue {
    pub value: String,
    pub index: u64,
    /// Remaining TTL; `None` without a TTL.
    pub remaining: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub index: u64,
    /// Relative to the prefix.
    pub path: String,
    /// `None` if the key, or a directory with its contents, was deleted or has expired.
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The precondition does not hold, or the key does not exist.
    #[error("the store refuses: {0}")]
    Rejected(String),
    /// The history no longer contains the requested events.
    #[error("the requested events are no longer in the store's history")]
    HistoryCleared,
    /// No response: a write may have been executed.
    #[error("the store does not respond: {0}")]
    Unavailable(String),
}
