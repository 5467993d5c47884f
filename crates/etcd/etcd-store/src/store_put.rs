//! PUT and POST: set, create, update, compare-and-swap, refresh.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{Action, ApiError, ErrorCode, Event, Key, Node, Timestamp};

use crate::arena::Slot;
use crate::command::{Post, Put};
use crate::compare::Comparison;
use crate::listing::to_node;
use crate::outcome::Change;
use crate::store::Store;
use crate::tree::{Content, Walk};

impl Store {
    pub(crate) fn put(&mut self, put: &Put) -> Result<Change, ApiError> {
        let comparison = Comparison::new(put.prev_value.as_ref(), put.prev_index);
        let result = match (put.prev_exist, comparison) {
            (Some(false), _) => self.create(&put.key, put.dir, &put.value, put.expiration),
            (_, Some(comparison)) => self.compare_and_swap(put, comparison),
            (Some(true), None) => self.update(put),
            (None, None) => self.set(put),
        };
        let (success, fail) = match (put.prev_exist, comparison) {
            (Some(false), _) => (&mut self.statistics.create_success, &mut self.statistics.create_fail),
            (_, Some(_)) => {
                (&mut self.statistics.compare_and_swap_success, &mut self.statistics.compare_and_swap_fail)
            }
            (Some(true), None) => (&mut self.statistics.update_success, &mut self.statistics.update_fail),
            (None, None) => (&mut self.statistics.sets_success, &mut self.statistics.sets_fail),
        };
        *(if result.is_ok() { success } else { fail }) += 1;
        result
    }

    pub(crate) fn post(&mut self, post: &Post) -> Result<Change, ApiError> {
        let result = self.create_in_order(post);
        let statistics = &mut self.statistics;
        let count = if result.is_ok() { &mut statistics.create_success } else { &mut statistics.create_fail };
        *count += 1;
        result
    }

    /// The child is named by the next index, padded so that names sort like indexes.
    fn create_in_order(&mut self, post: &Post) -> Result<Change, ApiError> {
        let name = format!("{:020}", self.index() + 1);
        let key = post.key.checked_child(name.as_bytes());
        let key = key.map_err(|error| self.error(ErrorCode::InvalidForm, error.to_string().as_bytes()))?;
        self.create(&key, post.dir, &post.value, post.expiration)
    }

    fn create(
        &mut self,
        key: &Key,
        dir: bool,
        value: &Bytes,
        expiration: Option<Timestamp>,
    ) -> Result<Change, ApiError> {
        self.reject_root(key)?;
        match self.tree.walk(key) {
            Walk::Found(_) => Err(self.error(ErrorCode::KeyExists, key.as_bytes())),
            Walk::Blocked { end } => Err(self.error(ErrorCode::NotADirectory, &key.as_bytes()[..end])),
            Walk::Missing { parent, end } => {
                let slot = self.tree.create(key, parent, end, content(dir, value), self.index() + 1);
                self.tree.set_expiration(slot, key, expiration);
                Ok(self.changed(Action::Create, slot, key, None, false))
            }
        }
    }

    fn set(&mut self, put: &Put) -> Result<Change, ApiError> {
        let key = &put.key;
        self.reject_root(key)?;
        let next = self.index() + 1;
        let (slot, previous) = match self.tree.walk(key) {
            Walk::Found(slot) => {
                let previous = to_node(self.tree.node(slot), key.clone());
                // A refresh keeps the value; a directory has none, and is rejected below.
                let kept = previous.value.as_ref().filter(|_| put.refresh);
                let content = content(put.dir, kept.unwrap_or(&put.value));
                if previous.dir {
                    return Err(self.error(ErrorCode::NotAFile, key.as_bytes()));
                }
                let node = self.tree.change(slot);
                node.content = content;
                node.modified_index = next;
                node.created_index = next;
                (slot, Some(previous))
            }
            Walk::Missing { parent, end } if !put.refresh => {
                (self.tree.create(key, parent, end, content(put.dir, &put.value), next), None)
            }
            Walk::Missing { .. } | Walk::Blocked { .. } => (self.find(key)?, None),
        };
        self.tree.set_expiration(slot, key, put.expiration);
        Ok(self.changed(Action::Set, slot, key, previous, put.refresh))
    }

    fn update(&mut self, put: &Put) -> Result<Change, ApiError> {
        let key = &put.key;
        self.reject_root(key)?;
        let slot = self.find(key)?;
        let previous = to_node(self.tree.node(slot), key.clone());
        if previous.dir && !put.value.is_empty() {
            return Err(self.error(ErrorCode::NotAFile, key.as_bytes()));
        }
        // As in etcd, a directory keeps its index; the event has the new one.
        if !previous.dir {
            self.overwrite(slot, put);
        }
        self.tree.set_expiration(slot, key, put.expiration);
        Ok(self.changed(Action::Update, slot, key, Some(previous), put.refresh))
    }

    fn compare_and_swap(&mut self, put: &Put, comparison: Comparison<'_>) -> Result<Change, ApiError> {
        let key = &put.key;
        self.reject_root(key)?;
        let slot = self.find(key)?;
        let node = self.tree.node(slot);
        let Some(value) = node.value() else {
            return Err(self.error(ErrorCode::NotAFile, key.as_bytes()));
        };
        if let Some(cause) = comparison.failure(value, node.modified_index) {
            return Err(self.error(ErrorCode::CompareFailed, &cause));
        }
        let previous = to_node(node, key.clone());
        self.overwrite(slot, put);
        self.tree.set_expiration(slot, key, put.expiration);
        Ok(self.changed(Action::CompareAndSwap, slot, key, Some(previous), put.refresh))
    }

    /// Sets a file's value, which a refresh keeps, and its index.
    fn overwrite(&mut self, slot: Slot, put: &Put) {
        let next = self.index() + 1;
        let node = self.tree.change(slot);
        node.modified_index = next;
        if !put.refresh {
            node.content = Content::File(put.value.clone());
        }
    }

    fn reject_root(&self, key: &Key) -> Result<(), ApiError> {
        if key.is_root() { Err(self.error(ErrorCode::RootReadOnly, b"/")) } else { Ok(()) }
    }

    /// Increments the index and builds the event.
    fn changed(
        &mut self,
        action: Action,
        slot: Slot,
        key: &Key,
        previous: Option<Node>,
        refresh: bool,
    ) -> Change {
        let mut node = to_node(self.tree.node(slot), key.clone());
        node.modified_index = self.index() + 1;
        let event = Arc::new(Event { action, node, prev_node: previous });
        // Creating a node is always an event, even for a refresh.
        if refresh && action != Action::Create {
            self.record(None);
            return Change::Refreshed(event);
        }
        self.record(Some(Arc::clone(&event)));
        Change::Event(event)
    }
}

fn content(dir: bool, value: &Bytes) -> Content {
    if dir { Content::Directory(BTreeMap::new()) } else { Content::File(value.clone()) }
}
