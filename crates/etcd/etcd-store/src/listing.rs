//! Nodes in responses.

use std::collections::btree_map;
use std::sync::Arc;

use etcd_api::{Action, Event, Key, Node};

use crate::arena::Slot;
use crate::tree::{Tree, TreeNode};

/// A node without its children.
pub fn to_node(node: &TreeNode, key: Key) -> Node {
    Node {
        key,
        value: node.value().cloned(),
        dir: node.is_directory(),
        expiration: node.expiration,
        nodes: Vec::new(),
        modified_index: node.modified_index,
        created_index: node.created_index,
    }
}

/// The response to GET. Hidden children, whose names start with `_`, are omitted.
pub fn get(tree: &Tree, slot: Slot, key: &Key, recursive: bool) -> Event {
    let mut open = vec![OpenDirectory::new(tree, slot, key.clone())];
    loop {
        // invariant: the loop ends when the first one that was opened is done.
        #[expect(clippy::expect_used)]
        let top = open.last_mut().expect("one is open");
        let Some((name, child)) = top.children.as_mut().and_then(next_visible) else {
            let done = open.pop().map(|open| open.node);
            match (done, open.last_mut()) {
                (Some(node), Some(parent)) => parent.node.nodes.push(node),
                (Some(node), None) => return Event { action: Action::Get, node, prev_node: None },
                (None, _) => continue,
            }
            continue;
        };
        let child_key = top.node.key.child(name);
        if recursive && tree.node(child).is_directory() {
            open.push(OpenDirectory::new(tree, child, child_key));
        } else {
            top.node.nodes.push(to_node(tree.node(child), child_key));
        }
    }
}

/// A directory whose children are being listed.
struct OpenDirectory<'a> {
    node: Node,
    children: Option<btree_map::Iter<'a, Arc<[u8]>, Slot>>,
}

impl<'a> OpenDirectory<'a> {
    fn new(tree: &'a Tree, slot: Slot, key: Key) -> Self {
        let node = tree.node(slot);
        Self { node: to_node(node, key), children: node.children().map(|children| children.iter()) }
    }
}

fn next_visible<'a>(children: &mut btree_map::Iter<'a, Arc<[u8]>, Slot>) -> Option<(&'a [u8], Slot)> {
    children.find(|(name, _)| !name.starts_with(b"_")).map(|(name, slot)| (name.as_ref(), *slot))
}
