//! The node tree: directories and files in an arena.
//!
//! Compact, since a store has millions of nodes: a node is a slot of the arena, shares its name with its parent's
//! list and its value with events. Nothing is recursive, since users determine the depth of the tree. Every
//! modification is recorded for the next checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{Key, Timestamp};

use crate::arena::{Arena, Slot};

/// Record id of the root, which always exists and is never written.
pub const ROOT_RECORD: u64 = 0;

/// A file or directory.
#[derive(Debug)]
pub struct TreeNode {
    /// Id in checkpoints: never reused, and greater than the parent's.
    pub record: u64,
    pub parent: Slot,
    pub name: Arc<[u8]>,
    pub modified_index: u64,
    pub created_index: u64,
    pub expiration: Option<Timestamp>,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    File(Bytes),
    /// An empty map does not allocate.
    Directory(BTreeMap<Arc<[u8]>, Slot>),
}

impl TreeNode {
    pub fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    pub fn value(&self) -> Option<&Bytes> {
        match &self.content {
            Content::File(value) => Some(value),
            Content::Directory(_) => None,
        }
    }

    pub fn children(&self) -> Option<&BTreeMap<Arc<[u8]>, Slot>> {
        match &self.content {
            Content::File(_) => None,
            Content::Directory(children) => Some(children),
        }
    }
}

/// Result of walking along a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    Found(Slot),
    /// `parent`, whose path is the key's first `end` bytes, has no child with the next name.
    Missing {
        parent: Slot,
        end: usize,
    },
    /// The key's first `end` bytes are the path of a file, but the key is longer.
    Blocked {
        end: usize,
    },
}

#[derive(Debug)]
pub struct Tree {
    nodes: Arena<TreeNode>,
    root: Slot,
    expirations: BTreeSet<(Timestamp, Key)>,
    next_record: u64,
    /// Records with a lower id may be in the last checkpoint.
    saved_records: u64,
    removed_records: Vec<u64>,
}

impl Tree {
    pub fn new() -> Self {
        let mut nodes = Arena::new();
        let root = nodes.add_with(|own| TreeNode {
            record: ROOT_RECORD,
            parent: own,
            name: Arc::from(&b""[..]),
            modified_index: 0,
            created_index: 0,
            expiration: None,
            content: Content::Directory(BTreeMap::new()),
        });
        Self {
            nodes,
            root,
            expirations: BTreeSet::new(),
            next_record: ROOT_RECORD + 1,
            saved_records: ROOT_RECORD + 1,
            removed_records: Vec::new(),
        }
    }

    pub fn root(&self) -> Slot {
        self.root
    }

    pub fn node(&self, slot: Slot) -> &TreeNode {
        self.nodes.get(slot)
    }

    pub fn next_record(&self) -> u64 {
        self.next_record
    }

    pub fn walk(&self, key: &Key) -> Walk {
        let path = key.as_bytes();
        let mut slot = self.root;
        let mut end = 0;
        if key.is_root() {
            return Walk::Found(slot);
        }
        while end < path.len() {
            let Some(children) = self.node(slot).children() else {
                return Walk::Blocked { end };
            };
            let next = next_end(path, end);
            let Some(child) = children.get(&path[end + 1..next]) else {
                return Walk::Missing { parent: slot, end };
            };
            slot = *child;
            end = next;
        }
        Walk::Found(slot)
    }

    /// Creates the node and its missing directories after `walk` returned `Missing { parent, end }`.
    pub fn create(&mut self, key: &Key, parent: Slot, end: usize, content: Content, index: u64) -> Slot {
        let path = key.as_bytes();
        let (mut parent, mut end) = (parent, end);
        loop {
            let next = next_end(path, end);
            let name = &path[end + 1..next];
            if next == path.len() {
                return self.add(parent, name, content, index);
            }
            parent = self.add(parent, name, Content::Directory(BTreeMap::new()), index);
            end = next;
        }
    }

    fn add(&mut self, parent: Slot, name: &[u8], content: Content, index: u64) -> Slot {
        let record = self.next_record;
        self.next_record += 1;
        let node = TreeNode {
            record,
            parent,
            name: Arc::from(name),
            modified_index: index,
            created_index: index,
            expiration: None,
            content,
        };
        self.attach(node)
    }

    /// Inserts a node below its parent. The name must not exist.
    fn attach(&mut self, node: TreeNode) -> Slot {
        let (parent, name) = (node.parent, Arc::clone(&node.name));
        let slot = self.nodes.add_with(|_| node);
        if let Content::Directory(children) = &mut self.nodes.get_unmarked(parent).content {
            children.insert(name, slot);
        }
        slot
    }

    /// Modifies a node's fields other than its parent and expiration.
    pub fn change(&mut self, slot: Slot) -> &mut TreeNode {
        self.nodes.get_mut(slot)
    }

    pub fn set_expiration(&mut self, slot: Slot, key: &Key, expiration: Option<Timestamp>) {
        let old = self.node(slot).expiration;
        if old == expiration {
            return;
        }
        if let Some(old) = old {
            self.expirations.remove(&(old, key.clone()));
        }
        if let Some(new) = expiration {
            self.expirations.insert((new, key.clone()));
        }
        self.change(slot).expiration = expiration;
    }

    /// The node that expires first: ordered by time and key.
    pub fn first_expiration(&self) -> Option<&(Timestamp, Key)> {
        self.expirations.first()
    }

    /// Removes a node and its descendants.
    pub fn remove(&mut self, slot: Slot, key: &Key) {
        let (parent, name) = (self.node(slot).parent, Arc::clone(&self.node(slot).name));
        if let Content::Directory(siblings) = &mut self.nodes.get_unmarked(parent).content {
            siblings.remove(&name);
        }
        // Expirations first, since their keys require the parents; then the nodes.
        let going = self.with_descendants(slot);
        for next in &going {
            if let Some(expiration) = self.node(*next).expiration {
                let path = self.key_below(slot, key, *next);
                self.expirations.remove(&(expiration, path));
            }
        }
        for next in going {
            let node = self.nodes.remove(next);
            if node.record < self.saved_records {
                self.removed_records.push(node.record);
            }
        }
    }

    fn with_descendants(&self, slot: Slot) -> Vec<Slot> {
        let mut all = vec![slot];
        let mut at = 0;
        while let Some(next) = all.get(at) {
            let children = self.node(*next).children();
            all.extend(children.into_iter().flat_map(BTreeMap::values));
            at += 1;
        }
        all
    }

    /// The key of `slot`, a descendant of `top`, whose key is known.
    fn key_below(&self, top: Slot, top_key: &Key, slot: Slot) -> Key {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = slot;
        while at != top {
            names.push(&self.node(at).name);
            at = self.node(at).parent;
        }
        top_key.descendant(names.into_iter().rev())
    }

    /// The nodes modified since the last `take_changed`, in record order, and the records of removed nodes. Marks
    /// everything as saved.
    pub fn take_changed(&mut self) -> (Vec<Slot>, Vec<u64>) {
        let root = self.root;
        let mut changed = self.nodes.take_marked();
        changed.retain(|slot| *slot != root);
        changed.sort_unstable_by_key(|slot| self.node(*slot).record);
        self.saved_records = self.next_record;
        let mut removed = std::mem::take(&mut self.removed_records);
        removed.sort_unstable();
        (changed, removed)
    }

    /// All nodes except the root, in record order.
    pub fn all(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.nodes.slots().filter(|slot| *slot != self.root).collect();
        slots.sort_unstable_by_key(|slot| self.node(*slot).record);
        slots
    }

    /// Adds a node from a checkpoint. `None` if the parent is not a directory or the name exists.
    pub fn restore_node(&mut self, node: TreeNode) -> Option<Slot> {
        let siblings = self.node(node.parent).children()?;
        if siblings.contains_key(&node.name) {
            return None;
        }
        let expiration = node.expiration;
        let slot = self.attach(node);
        if let Some(expiration) = expiration {
            let key = self.key_below(self.root, &Key::root(), slot);
            self.expirations.insert((expiration, key));
        }
        Some(slot)
    }

    /// Finishes a restore: marks everything as saved.
    pub fn mark_saved(&mut self, next_record: u64) {
        self.next_record = next_record;
        self.saved_records = next_record;
        self.removed_records.clear();
        self.nodes.take_marked();
    }
}

/// The end of the segment after the slash at `end`.
fn next_end(path: &[u8], end: usize) -> usize {
    path[end + 1..].iter().position(|byte| *byte == b'/').map_or(path.len(), |length| end + 1 + length)
}
