//! 0.4's first answer form: one flat object a node.

use std::fmt::Write;

use etcd_api::{Action, Event, Node, Timestamp};

use crate::answer::quoted;

/// A file, or the listing of a directory.
pub(crate) fn found(node: &Node, index: u64, now: Timestamp) -> String {
    if !node.dir {
        return object("get", node, Extra { prev_value: None, new_key: false }, index, now);
    }
    let children = node.nodes.iter();
    let children =
        children.map(|child| object("get", child, Extra { prev_value: None, new_key: false }, index, now));
    format!("[{}]", children.collect::<Vec<_>>().join(","))
}

/// A watched change.
pub(crate) fn event(event: &Event, index: u64, now: Timestamp) -> String {
    let prev_value = event.prev_node.as_ref().and_then(|node| node.value.as_deref());
    let new_key = event.action == Action::Set && event.prev_node.is_none();
    object(event.action.as_str(), &event.node, Extra { prev_value, new_key }, index, now)
}

struct Extra<'a> {
    prev_value: Option<&'a [u8]>,
    new_key: bool,
}

fn object(action: &str, node: &Node, extra: Extra<'_>, index: u64, now: Timestamp) -> String {
    let quote = |bytes: &[u8]| quoted(&String::from_utf8_lossy(bytes));
    let mut text = format!("{{\"action\":\"{action}\",\"key\":{}", quote(node.key.as_bytes()));
    let mut add = |name: &str, value: &str| {
        // invariant: writing to a String can not fail.
        #[expect(clippy::expect_used)]
        write!(text, ",\"{name}\":{value}").expect("a String takes all");
    };
    if node.dir {
        add("dir", "true");
    }
    if let Some(value) = extra.prev_value.filter(|value| !value.is_empty()) {
        add("prevValue", &quote(value));
    }
    if let Some(value) = node.value.as_deref().filter(|value| !value.is_empty()) {
        add("value", &quote(value));
    }
    if extra.new_key {
        add("newKey", "true");
    }
    if let Some(expiration) = node.expiration {
        add("expiration", &format!("\"{expiration}\""));
        match expiration.seconds_left(now) {
            0 => {}
            left => add("ttl", &left.to_string()),
        }
    }
    add("index", &index.to_string());
    text.push('}');
    text
}
