//! The state as records for a checkpoint: what changed since the last one, and the way back.

use crate::Store;

/// Where a record belongs. Keys in each are 64-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Counters, members, users: few.
    Meta,
    /// Nodes by a local id; a parent's id is smaller than its children's.
    Nodes,
    /// Events by index.
    History,
}

impl Table {
    pub const ALL: [Self; 3] = [Self::Meta, Self::Nodes, Self::History];
}

/// One record to write, or to remove where `bytes` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub table: Table,
    pub key: u64,
    pub bytes: Option<Vec<u8>>,
}

/// What changed between two checkpoints. Cheap to take: values are shared with the state and are encoded
/// while `records` runs, which needs no access to the store any more.
#[derive(Debug, Default)]
pub struct Changes {}

impl Changes {
    /// In the order of table and key.
    pub fn records(self) -> impl Iterator<Item = Record> + Send {
        std::iter::empty()
    }

    pub fn is_empty(&self) -> bool {
        true
    }
}

/// Builds a store from all records of a checkpoint: tables in any order, keys of `Nodes` ascending.
#[derive(Debug, Default)]
pub struct Restore {}

/// A checkpoint that gives no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("state format {found} is not known here (this version writes {known})")]
    UnknownVersion { found: u8, known: u8 },
    #[error("record {key} of {table:?} can not be read: {what}")]
    Malformed { table: Table, key: u64, what: &'static str },
    #[error("record {key} of {table:?} is missing")]
    Missing { table: Table, key: u64 },
}

impl Restore {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&mut self, _table: Table, _key: u64, _bytes: &[u8]) -> Result<(), RestoreError> {
        unimplemented!("comes with the tree")
    }

    /// An empty set of records gives an empty store.
    pub fn finish(self) -> Result<Store, RestoreError> {
        unimplemented!("comes with the tree")
    }
}
