//! Answers and events: what was done, the node after it, and the node before.

use bytes::Bytes;

use crate::{Action, Key, Timestamp};

/// A success answer, and what watchers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub action: Action,
    pub node: Node,
    pub prev_node: Option<Node>,
}

/// One node as an answer shows it. `ttl` is no part of it: it depends on the moment of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The root's is left out of answers.
    pub key: Key,
    /// `None` for directories, and for the node of a delete or expire.
    pub value: Option<Bytes>,
    pub dir: bool,
    pub expiration: Option<Timestamp>,
    pub nodes: Vec<Node>,
    pub modified_index: u64,
    pub created_index: u64,
}

impl Event {
    /// The store index of the change that this event tells.
    pub fn index(&self) -> u64 {
        self.node.modified_index
    }

    /// Whether the change made a node: the answer's status is then 201, else 200.
    pub fn is_created(&self) -> bool {
        self.action == Action::Create || (self.action == Action::Set && self.prev_node.is_none())
    }

    /// Whether a directory went, and with it all that was below.
    pub fn removes_directory(&self) -> bool {
        self.action.removes() && self.prev_node.as_ref().is_some_and(|node| node.dir)
    }
}
