//! Checkpoint records: the complete state, or the changes since the last checkpoint.
//!
//! Taking changes is cheap, since values are shared with the state; encoding them needs no access to the store.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{StoreStatistics, Timestamp};

use crate::arena::Slot;
use crate::codec::Writer;
use crate::event_record::write_entry;
use crate::history::HistoryEntry;
use crate::store::{MetaChanged, Store};
use crate::tree::Content;

/// Format version of all records, stored in the first one of `Meta`.
pub const FORMAT: u8 = 1;
/// Format version with the members' disks, once any is recorded: older programs, which would lose them, must reject
/// it.
pub const FORMAT_WITH_DISKS: u8 = 2;

/// Keys of `Meta`.
pub const COUNTERS: u64 = 0;
pub const MEMBERSHIP: u64 = 1;
pub const AUTH: u64 = 2;
pub const DISKS: u64 = 3;

/// Types of node records.
pub const FILE: u8 = 0;
pub const DIRECTORY: u8 = 1;

/// Table of a record. Keys are 64-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Counters, members, users.
    Meta,
    /// Nodes by local id; a parent's id is less than its children's.
    Nodes,
    /// Events by index.
    History,
}

impl Table {
    /// In the order of restoring.
    pub const ALL: [Self; 3] = [Self::Meta, Self::Nodes, Self::History];
}

/// A record to write, or to remove if `bytes` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The table of the record.
    pub table: Table,
    /// Unique within its table.
    pub key: u64,
    /// The format is private to this crate.
    pub bytes: Option<Vec<u8>>,
}

/// Records to write and to remove. Removing a missing record is no error.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    meta: Vec<(u64, Vec<u8>)>,
    nodes: Vec<NodeRecord>,
    gone_nodes: Vec<u64>,
    history: Vec<(u64, HistoryEntry)>,
    gone_history: Vec<u64>,
}

#[derive(Debug, Clone)]
struct NodeRecord {
    record: u64,
    parent: u64,
    name: Arc<[u8]>,
    modified_index: u64,
    created_index: u64,
    expiration: Option<Timestamp>,
    /// `None` for a directory.
    value: Option<Bytes>,
}

impl Store {
    /// The changes since the last call or the restore. Each change is returned once: if it cannot be written, the
    /// next checkpoint must be a `snapshot`.
    pub fn take_changes(&mut self) -> Changes {
        let (changed, gone_nodes) = self.tree.take_changed();
        let (history, gone_history) = self.history.take_changed();
        let MetaChanged { counters, membership, auth } = std::mem::take(&mut self.meta_changed);
        Changes {
            meta: self.meta(counters, membership, auth),
            nodes: changed.into_iter().map(|slot| self.node_record(slot)).collect(),
            gone_nodes,
            history,
            gone_history,
        }
    }

    /// The complete state, to be written to an empty checkpoint. Changes remain pending.
    pub fn snapshot(&self) -> Changes {
        Changes {
            meta: self.meta(true, true, true),
            nodes: self.tree.all().into_iter().map(|slot| self.node_record(slot)).collect(),
            gone_nodes: Vec::new(),
            history: self.history.all().collect(),
            gone_history: Vec::new(),
        }
    }

    fn meta(&self, counters: bool, membership: bool, auth: bool) -> Vec<(u64, Vec<u8>)> {
        let mut meta = Vec::new();
        if counters {
            let format = if self.membership.has_disks() { FORMAT_WITH_DISKS } else { FORMAT };
            let mut bytes = vec![format];
            let mut out = Writer(&mut bytes);
            out.number(self.index());
            out.number(self.tree.next_record());
            write_statistics(&mut out, &self.statistics());
            meta.push((COUNTERS, bytes));
        }
        if membership {
            let mut bytes = Vec::new();
            self.membership.encode(&mut Writer(&mut bytes));
            meta.push((MEMBERSHIP, bytes));
            let mut bytes = Vec::new();
            if self.membership.encode_disks(&mut Writer(&mut bytes)) {
                meta.push((DISKS, bytes));
            }
        }
        if auth {
            let mut bytes = Vec::new();
            self.auth.encode(&mut Writer(&mut bytes));
            meta.push((AUTH, bytes));
        }
        meta
    }

    fn node_record(&self, slot: Slot) -> NodeRecord {
        let node = self.tree.node(slot);
        NodeRecord {
            record: node.record,
            parent: self.tree.node(node.parent).record,
            name: Arc::clone(&node.name),
            modified_index: node.modified_index,
            created_index: node.created_index,
            expiration: node.expiration,
            value: match &node.content {
                Content::File(value) => Some(value.clone()),
                Content::Directory(_) => None,
            },
        }
    }
}

impl Changes {
    /// Sorted by table; removals first, then by key.
    pub fn records(self) -> impl Iterator<Item = Record> + Send {
        let meta = self.meta.into_iter().map(|(key, bytes)| (Table::Meta, key, Some(bytes)));
        let gone_nodes = self.gone_nodes.into_iter().map(|key| (Table::Nodes, key, None));
        let nodes = self.nodes.into_iter().map(|node| (Table::Nodes, node.record, Some(node.encode())));
        let gone_history = self.gone_history.into_iter().map(|key| (Table::History, key, None));
        let history = self.history.into_iter().map(|(index, entry)| {
            let mut bytes = Vec::new();
            write_entry(&mut Writer(&mut bytes), &entry);
            (Table::History, index, Some(bytes))
        });
        let all = meta.chain(gone_nodes).chain(nodes).chain(gone_history).chain(history);
        all.map(|(table, key, bytes)| Record { table, key, bytes })
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        let nodes = self.nodes.len() + self.gone_nodes.len();
        self.meta.len() + nodes + self.history.len() + self.gone_history.len()
    }
}

impl NodeRecord {
    fn encode(&self) -> Vec<u8> {
        let value = self.value.as_ref().map_or(0, Bytes::len);
        let mut bytes = Vec::with_capacity(48 + self.name.len() + value);
        let mut out = Writer(&mut bytes);
        out.number(self.parent);
        out.bytes(&self.name);
        out.number(self.modified_index);
        out.number(self.created_index);
        out.option(self.expiration, Writer::time);
        match &self.value {
            Some(value) => {
                out.byte(FILE);
                out.bytes(value);
            }
            None => out.byte(DIRECTORY),
        }
        bytes
    }
}

fn write_statistics(out: &mut Writer, statistics: &StoreStatistics) {
    let StoreStatistics {
        gets_success,
        gets_fail,
        sets_success,
        sets_fail,
        delete_success,
        delete_fail,
        update_success,
        update_fail,
        create_success,
        create_fail,
        compare_and_swap_success,
        compare_and_swap_fail,
        compare_and_delete_success,
        compare_and_delete_fail,
        expire_count,
        watchers: _,
    } = *statistics;
    let reads_and_sets = [gets_success, gets_fail, sets_success, sets_fail];
    let others = [delete_success, delete_fail, update_success, update_fail, create_success, create_fail];
    let compared = [
        compare_and_swap_success,
        compare_and_swap_fail,
        compare_and_delete_success,
        compare_and_delete_fail,
    ];
    for count in reads_and_sets.into_iter().chain(others).chain(compared).chain([expire_count]) {
        out.number(count);
    }
}
