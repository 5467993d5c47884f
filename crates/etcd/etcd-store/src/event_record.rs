//! Encoding of events in a checkpoint's history.

use etcd_api::{Action, Event, Node};

use crate::codec::{ReadError, Reader, Writer};
use crate::history::HistoryEntry;

const DIR: u8 = 1;
const HAS_VALUE: u8 = 2;
const EXPIRES: u8 = 4;

pub fn write_entry(out: &mut Writer, entry: &HistoryEntry) {
    out.option(entry.as_ref(), |out, event| {
        out.byte(action_number(event.action));
        write_node(out, &event.node);
        out.option(event.prev_node.as_ref(), write_node);
    });
}

pub fn read_entry(input: &mut Reader<'_>) -> Result<HistoryEntry, ReadError> {
    let event = input.option(|input| {
        let number = input.byte()?;
        let action = Action::ALL.into_iter().find(|action| action_number(*action) == number);
        let action = action.ok_or_else(|| input.malformed("action"))?;
        Ok(Event { action, node: read_node(input)?, prev_node: input.option(read_node)? })
    })?;
    Ok(event.map(Into::into))
}

/// Part of the format: numbers must not be reassigned.
fn action_number(action: Action) -> u8 {
    match action {
        Action::Get => 0,
        Action::Create => 1,
        Action::Set => 2,
        Action::Update => 3,
        Action::Delete => 4,
        Action::CompareAndSwap => 5,
        Action::CompareAndDelete => 6,
        Action::Expire => 7,
    }
}

/// Nodes of events have no children.
fn write_node(out: &mut Writer, node: &Node) {
    let flags = if node.dir { DIR } else { 0 }
        | if node.value.is_some() { HAS_VALUE } else { 0 }
        | if node.expiration.is_some() { EXPIRES } else { 0 };
    out.byte(flags);
    out.bytes(node.key.as_bytes());
    if let Some(value) = &node.value {
        out.bytes(value);
    }
    if let Some(expiration) = node.expiration {
        out.time(expiration);
    }
    out.number(node.modified_index);
    out.number(node.created_index);
}

fn read_node(input: &mut Reader<'_>) -> Result<Node, ReadError> {
    let flags = input.byte()?;
    if flags & !(DIR | HAS_VALUE | EXPIRES) != 0 {
        return Err(input.malformed("flags"));
    }
    Ok(Node {
        key: input.key()?,
        value: if flags & HAS_VALUE == 0 { None } else { Some(input.value()?) },
        dir: flags & DIR != 0,
        expiration: if flags & EXPIRES == 0 { None } else { Some(input.time()?) },
        nodes: Vec::new(),
        modified_index: input.number()?,
        created_index: input.number()?,
    })
}
