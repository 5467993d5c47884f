//! DELETE, compare-and-delete, and expiration.

use std::sync::Arc;

use etcd_api::{Action, ApiError, ErrorCode, Event, Key, Node, Timestamp};

use crate::arena::Slot;
use crate::command::Delete;
use crate::compare::Comparison;
use crate::listing::to_node;
use crate::outcome::Change;
use crate::store::Store;
use crate::tree::Walk;

impl Store {
    pub(crate) fn delete(&mut self, delete: &Delete) -> Result<Change, ApiError> {
        let comparison = Comparison::new(delete.prev_value.as_ref(), delete.prev_index);
        let result = match comparison {
            Some(comparison) => self.compare_and_delete(&delete.key, comparison),
            None => self.delete_unconditionally(delete),
        };
        let statistics = &mut self.statistics;
        let (success, fail) = match comparison {
            Some(_) => (&mut statistics.compare_and_delete_success, &mut statistics.compare_and_delete_fail),
            None => (&mut statistics.delete_success, &mut statistics.delete_fail),
        };
        *(if result.is_ok() { success } else { fail }) += 1;
        result.map(Change::Event)
    }

    fn delete_unconditionally(&mut self, delete: &Delete) -> Result<Arc<Event>, ApiError> {
        let key = &delete.key;
        if key.is_root() {
            return Err(self.error(ErrorCode::RootReadOnly, b"/"));
        }
        let slot = self.find(key)?;
        if let Some(children) = self.tree.node(slot).children() {
            if !delete.dir && !delete.recursive {
                return Err(self.error(ErrorCode::NotAFile, key.as_bytes()));
            }
            if !children.is_empty() && !delete.recursive {
                return Err(self.error(ErrorCode::DirectoryNotEmpty, key.as_bytes()));
            }
        }
        Ok(self.remove(Action::Delete, slot, key))
    }

    fn compare_and_delete(&mut self, key: &Key, comparison: Comparison<'_>) -> Result<Arc<Event>, ApiError> {
        let slot = self.find(key)?;
        let node = self.tree.node(slot);
        let Some(value) = node.value() else {
            // As in etcd, the cause is empty for the root.
            let cause = if key.is_root() { b"" } else { key.as_bytes() };
            return Err(self.error(ErrorCode::NotAFile, cause));
        };
        if let Some(cause) = comparison.failure(value, node.modified_index) {
            return Err(self.error(ErrorCode::CompareFailed, &cause));
        }
        Ok(self.remove(Action::CompareAndDelete, slot, key))
    }

    /// Removes nodes that expire at or before `now`, ordered by time and key, each with its own index. A directory is
    /// removed with its descendants, which have no events of their own.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        while let Some((at, key)) = self.tree.first_expiration() {
            if *at > now {
                break;
            }
            let key = key.clone();
            // The expiration index and the tree agree; if not, stop instead of looping forever.
            let Walk::Found(slot) = self.tree.walk(&key) else { break };
            events.push(self.remove(Action::Expire, slot, &key));
            self.statistics.expire_count += 1;
        }
        events
    }

    fn remove(&mut self, action: Action, slot: Slot, key: &Key) -> Arc<Event> {
        let previous = to_node(self.tree.node(slot), key.clone());
        let node = Node {
            key: key.clone(),
            value: None,
            dir: previous.dir,
            expiration: None,
            nodes: Vec::new(),
            modified_index: self.index() + 1,
            created_index: previous.created_index,
        };
        self.tree.remove(slot, key);
        let event = Arc::new(Event { action, node, prev_node: Some(previous) });
        self.record(Some(Arc::clone(&event)));
        event
    }
}
