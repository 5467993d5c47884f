//! Restores the state from checkpoint records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use etcd_api::StoreStatistics;

use crate::arena::Slot;
use crate::auth::Auth;
use crate::checkpoint::{
    AUTH, COUNTERS, DIRECTORY, DISKS, FILE, FORMAT, FORMAT_WITH_DISKS, MEMBERSHIP, Table,
};
use crate::codec::{ReadError, Reader};
use crate::event_record::read_entry;
use crate::history::{History, HistoryEntry};
use crate::limits::HISTORY_EVENTS;
use crate::membership::{Disks, Membership};
use crate::store::{MetaChanged, Reads, Store};
use crate::tree::{Content, ROOT_RECORD, Tree, TreeNode};

/// Builds a store from all records of a checkpoint: tables in any order, keys ascending in each.
#[derive(Debug)]
pub struct Restore {
    counters: Option<Counters>,
    membership: Membership,
    disks: Option<Disks>,
    auth: Auth,
    tree: Tree,
    /// The last directory that got a child.
    directories: HashMap<u64, Slot>,
    last_record: u64,
    history: Vec<(u64, HistoryEntry)>,
}

#[derive(Debug)]
struct Counters {
    index: u64,
    next_record: u64,
    statistics: StoreStatistics,
}

/// An invalid checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RestoreError {
    #[error("state format {found} is not known here (this version writes {known})")]
    UnknownVersion { found: u8, known: u8 },
    #[error("record {key} of {table:?} cannot be read: {what}")]
    Malformed { table: Table, key: u64, what: &'static str },
    #[error("record {key} of {table:?} is missing")]
    Missing { table: Table, key: u64 },
}

impl Restore {
    /// Without any records.
    pub fn new() -> Self {
        let tree = Tree::new();
        let directories = HashMap::from([(ROOT_RECORD, tree.root())]);
        Self {
            counters: None,
            membership: Membership::default(),
            disks: None,
            auth: Auth::default(),
            tree,
            directories,
            last_record: ROOT_RECORD,
            history: Vec::new(),
        }
    }

    /// Adds a record. Those of [`Table::Nodes`] must be in the order of their keys.
    pub fn add(&mut self, table: Table, key: u64, bytes: &[u8]) -> Result<(), RestoreError> {
        let mut input = Reader::new(bytes);
        let known = |format: u8| matches!(format, FORMAT | FORMAT_WITH_DISKS);
        let read = match table {
            Table::Meta if key == COUNTERS => {
                if let Some(found) = bytes.first().copied().filter(|found| !known(*found)) {
                    let known = FORMAT_WITH_DISKS;
                    return Err(RestoreError::UnknownVersion { found, known });
                }
                read_counters(&mut input).map(|counters| self.counters = Some(counters))
            }
            Table::Meta if key == MEMBERSHIP => {
                Membership::decode(&mut input).map(|membership| self.membership = membership)
            }
            Table::Meta if key == AUTH => Auth::decode(&mut input).map(|auth| self.auth = auth),
            Table::Meta if key == DISKS => {
                Membership::decode_disks(&mut input).map(|disks| self.disks = Some(disks))
            }
            Table::Meta => Err(input.malformed("an unknown key")),
            Table::Nodes => self.add_node(key, &mut input),
            Table::History => read_entry(&mut input).map(|entry| self.history.push((key, entry))),
        };
        let complete = read.and_then(|()| input.end());
        complete.map_err(|error| RestoreError::Malformed { table, key, what: error.what() })
    }

    fn add_node(&mut self, record: u64, input: &mut Reader<'_>) -> Result<(), ReadError> {
        if record <= self.last_record {
            return Err(input.malformed("it stands out of order"));
        }
        self.last_record = record;
        let parent = input.number()?;
        let parent = *self.directories.get(&parent).ok_or_else(|| input.malformed("no such parent"))?;
        let name = input.bytes()?;
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(input.malformed("name"));
        }
        let node = TreeNode {
            record,
            parent,
            name: Arc::from(name),
            modified_index: input.number()?,
            created_index: input.number()?,
            expiration: input.option(Reader::time)?,
            content: match input.byte()? {
                FILE => Content::File(input.value()?),
                DIRECTORY => Content::Directory(BTreeMap::new()),
                _ => return Err(input.malformed("kind")),
            },
        };
        let is_directory = node.is_directory();
        let slot = self.tree.restore_node(node).ok_or_else(|| input.malformed("the name is taken"))?;
        if is_directory {
            self.directories.insert(record, slot);
        }
        Ok(())
    }

    /// Without any records the store is empty.
    pub fn finish(mut self) -> Result<Store, RestoreError> {
        let Some(counters) = self.counters else {
            if self.last_record == ROOT_RECORD && self.history.is_empty() {
                return Ok(Store::new());
            }
            return Err(RestoreError::Missing { table: Table::Meta, key: COUNTERS });
        };
        if counters.next_record <= self.last_record {
            let what = "it knows fewer nodes than there are";
            return Err(RestoreError::Malformed { table: Table::Meta, key: COUNTERS, what });
        }
        self.tree.mark_saved(counters.next_record);
        Ok(Store {
            tree: self.tree,
            history: restore_history(counters.index, self.history)?,
            membership: self.membership.with_disks(self.disks),
            auth: self.auth,
            statistics: counters.statistics,
            reads: Reads {
                success: AtomicU64::new(counters.statistics.gets_success),
                fail: AtomicU64::new(counters.statistics.gets_fail),
            },
            meta_changed: MetaChanged::default(),
        })
    }
}

impl Default for Restore {
    fn default() -> Self {
        Self::new()
    }
}

/// All recent indexes must be present, up to the history's size.
fn restore_history(index: u64, slots: Vec<(u64, HistoryEntry)>) -> Result<History, RestoreError> {
    let first = index.saturating_sub(HISTORY_EVENTS as u64) + 1;
    let missing = |key| RestoreError::Missing { table: Table::History, key };
    for (expected, position) in (first..=index).zip(0..) {
        if slots.get(position).map(|(key, _)| *key) != Some(expected) {
            return Err(missing(expected));
        }
    }
    History::restore(index, slots).ok_or_else(|| missing(index + 1))
}

fn read_counters(input: &mut Reader<'_>) -> Result<Counters, ReadError> {
    input.byte()?;
    Ok(Counters { index: input.number()?, next_record: input.number()?, statistics: read_statistics(input)? })
}

fn read_statistics(input: &mut Reader<'_>) -> Result<StoreStatistics, ReadError> {
    Ok(StoreStatistics {
        gets_success: input.number()?,
        gets_fail: input.number()?,
        sets_success: input.number()?,
        sets_fail: input.number()?,
        delete_success: input.number()?,
        delete_fail: input.number()?,
        update_success: input.number()?,
        update_fail: input.number()?,
        create_success: input.number()?,
        create_fail: input.number()?,
        compare_and_swap_success: input.number()?,
        compare_and_swap_fail: input.number()?,
        compare_and_delete_success: input.number()?,
        compare_and_delete_fail: input.number()?,
        expire_count: input.number()?,
        watchers: 0,
    })
}
