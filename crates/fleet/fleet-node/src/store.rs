//! The store as a node uses it: keys of the registry, each change with its index.

use std::time::Duration;

use fleet_core::registry::Key;
use unit_file::UnitName;

/// Any etcd v2 service; in tests a state machine in memory. Cheap to clone. No call may take forever.
pub trait Store: Clone + Send + Sync + 'static {
    type Watch: Watch;

    /// All keys below the prefix, as a majority of the store has them.
    fn read(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Changes after `index`, in order, none left out.
    fn watch(&self, after: u64) -> Self::Watch;

    /// As a majority of the store has it.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<StoredValue>, StoreError>> + Send;

    /// Writes a key, where `precondition` holds; answers the index of the write.
    fn put(
        &self,
        key: &Key,
        value: &str,
        ttl: Option<Duration>,
        precondition: Precondition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// A new time to live for a key that has this value, where `precondition` holds; where the store can, without an event. Answers
    /// the index of that.
    ///
    /// A request that was given up may be carried out late, after a newer one: only an index keeps it from giving the key an
    /// earlier end then.
    fn refresh(
        &self,
        key: &Key,
        value: &str,
        ttl: Duration,
        precondition: Precondition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes a key, where `precondition` holds; answers the index of that.
    fn delete(
        &self,
        key: &Key,
        precondition: Precondition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes all that stands below `job/NAME`; answers the index of that.
    fn delete_job(&self, name: &UnitName) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Follows the keys below the prefix.
pub trait Watch: Send {
    /// Waits for the next change, for as long as it takes. May be dropped while it waits without losing one.
    /// After [`StoreError::Unavailable`] it may be called again; after [`StoreError::HistoryCleared`] everything is to be read.
    fn next(&mut self) -> impl Future<Output = Result<Change, StoreError>> + Send;
}

/// What has to hold for a write to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    Always,
    /// There is no such key.
    Absent,
    /// There is one.
    Present,
    /// It has this value.
    Value(String),
    /// This was its last write.
    Index(u64),
}

/// Everything at one index. Paths are relative to the prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub pairs: Vec<(String, String)>,
    pub index: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredValue {
    pub value: String,
    pub index: u64,
    /// `None` for a key without end.
    pub remaining: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub index: u64,
    /// Relative to the prefix.
    pub path: String,
    /// `None` where the key, or a directory with all that is in it, was deleted or has expired.
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What `precondition` asks for does not hold, or the key is not there.
    #[error("the store refuses: {0}")]
    Rejected(String),
    /// The events that a watch asked for are forgotten.
    #[error("the store has forgotten the events that were asked for")]
    HistoryCleared,
    /// No answer: a write may have been done or not.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}
