//! Responses and events: action, node, and previous node.

use bytes::Bytes;

use crate::{Action, Key, Timestamp};

/// A successful response, and a watch event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done, which is more specific than the method.
    pub action: Action,
    /// The node after the change; without a value if it was removed.
    pub node: Node,
    /// The node before the change; `None` if there was none.
    pub prev_node: Option<Node>,
}

/// A node in a response. The `ttl` is computed when it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Omitted from responses for the root.
    pub key: Key,
    /// `None` for directories, and for the node of a delete or expire.
    pub value: Option<Bytes>,
    /// Directories have `nodes`, files have a `value`.
    pub dir: bool,
    /// When the node is removed; `None`: never.
    pub expiration: Option<Timestamp>,
    /// Children that the request listed, sorted by key; empty otherwise.
    pub nodes: Vec<Node>,
    /// Index of the last change of the node.
    pub modified_index: u64,
    /// Index of its creation.
    pub created_index: u64,
}

impl Event {
    /// The store's index of this change.
    pub fn index(&self) -> u64 {
        self.node.modified_index
    }

    /// Whether the change created a node: the status is then 201, otherwise 200.
    pub fn is_created(&self) -> bool {
        self.action == Action::Create || (self.action == Action::Set && self.prev_node.is_none())
    }

    /// Whether a directory was removed with its descendants.
    pub fn removes_directory(&self) -> bool {
        self.action.removes() && self.prev_node.as_ref().is_some_and(|node| node.dir)
    }
}
