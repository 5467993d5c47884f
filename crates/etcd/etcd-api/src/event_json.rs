//! JSON of responses and events, identical to etcd's.
//!
//! Writes directly into the response's buffer: an event may be encoded for thousands of watchers, and listings are
//! large.

use crate::json_text::{push_name, push_number, push_string};
use crate::{ApiError, Event, Node, Timestamp};

/// Size of a node's JSON without key and value, for allocating buffers.
const NODE_OVERHEAD: usize = 160;

impl Event {
    /// The body of a successful response: an object and a newline. `now` is the responding member's cluster time, for
    /// `ttl`.
    pub fn to_json_line(&self, now: Timestamp) -> Vec<u8> {
        let sizes = self.node.json_size_hint() + self.prev_node.as_ref().map_or(0, Node::json_size_hint);
        let mut out = Vec::with_capacity(sizes);
        self.write_json(&mut out, now);
        out.push(b'\n');
        out
    }

    /// Appends the object, without a newline.
    pub fn write_json(&self, out: &mut Vec<u8>, now: Timestamp) {
        self.write_action(out);
        out.extend_from_slice(b",\"node\":");
        self.node.write_json(out, now);
        if let Some(prev_node) = &self.prev_node {
            out.extend_from_slice(b",\"prevNode\":");
            prev_node.write_json(out, now);
        }
        out.push(b'}');
    }

    /// The body for `noValueOnSuccess`: only the action, and a newline.
    pub fn to_action_json_line(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_action(&mut out);
        out.extend_from_slice(b"}\n");
        out
    }

    fn write_action(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"action\":\"");
        out.extend_from_slice(self.action.as_str().as_bytes());
        out.push(b'"');
    }
}

impl Node {
    /// Appends a node with its children. Not recursive: users determine the depth of the tree.
    pub fn write_json(&self, out: &mut Vec<u8>, now: Timestamp) {
        self.write_start(out, now);
        if self.nodes.is_empty() {
            return self.write_end(out);
        }
        let mut open = vec![(self, self.start_nodes(out))];
        while let Some((parent, children)) = open.last_mut() {
            let Some(child) = children.next() else {
                out.push(b']');
                parent.write_end(out);
                open.pop();
                continue;
            };
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            child.write_start(out, now);
            if child.nodes.is_empty() {
                child.write_end(out);
            } else {
                open.push((child, child.start_nodes(out)));
            }
        }
    }

    /// The fields before `nodes`.
    fn write_start(&self, out: &mut Vec<u8>, now: Timestamp) {
        let mut fields = Fields::start(out);
        if !self.key.is_root() {
            push_string(fields.name("key"), self.key.as_bytes());
        }
        if let Some(value) = &self.value {
            push_string(fields.name("value"), value);
        }
        if self.dir {
            fields.name("dir").extend_from_slice(b"true");
        }
        if let Some(expiration) = self.expiration {
            let out = fields.name("expiration");
            out.push(b'"');
            expiration.write_rfc3339(out);
            out.push(b'"');
            fields.number("ttl", expiration.seconds_left(now));
        }
    }

    fn start_nodes(&self, out: &mut Vec<u8>) -> std::slice::Iter<'_, Self> {
        Fields { out }.name("nodes").push(b'[');
        self.nodes.iter()
    }

    /// The fields after `nodes`.
    fn write_end(&self, out: &mut Vec<u8>) {
        let mut fields = Fields { out };
        fields.number("modifiedIndex", self.modified_index);
        fields.number("createdIndex", self.created_index);
        fields.end();
    }

    fn json_size_hint(&self) -> usize {
        let own =
            NODE_OVERHEAD + self.key.as_bytes().len() + self.value.as_ref().map_or(0, bytes::Bytes::len);
        // One level suffices; deeper listings grow the buffer.
        let children = self.nodes.iter().map(|node| {
            NODE_OVERHEAD + node.key.as_bytes().len() + node.value.as_ref().map_or(0, bytes::Bytes::len)
        });
        own + children.sum::<usize>()
    }
}

/// Writes the commas of an object with optional fields.
pub(crate) struct Fields<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Fields<'a> {
    pub(crate) fn start(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out }
    }

    pub(crate) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        push_name(self.out, name);
        self.out
    }

    /// Omitted if 0, as by Go's `omitempty`.
    pub(crate) fn number<N: itoa::Integer + Default + PartialEq>(&mut self, name: &str, number: N) {
        if number != N::default() {
            push_number(self.name(name), number);
        }
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

impl ApiError {
    /// The body of an error response: an object and a newline.
    pub fn to_json_line(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.cause.len());
        out.extend_from_slice(b"{\"errorCode\":");
        push_number(&mut out, self.code.number());
        out.extend_from_slice(b",\"message\":");
        push_string(&mut out, self.code.message().as_bytes());
        if !self.cause.is_empty() {
            out.extend_from_slice(b",\"cause\":");
            push_string(&mut out, self.cause.as_bytes());
        }
        out.extend_from_slice(b",\"index\":");
        push_number(&mut out, self.index);
        out.extend_from_slice(b"}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Action, ErrorCode, Key};

    /// 2026-11-20T06:46:49Z.
    const NOW: Timestamp = Timestamp::from_unix_nanos(1_795_157_209_000_000_000);

    fn file(key: &str, value: &'static str, index: u64) -> Node {
        Node {
            key: Key::parse(key).unwrap(),
            value: Some(Bytes::from_static(value.as_bytes())),
            dir: false,
            expiration: None,
            nodes: Vec::new(),
            modified_index: index,
            created_index: index,
        }
    }

    #[track_caller]
    fn check(event: &Event, expect: &str) {
        let line = event.to_json_line(NOW);
        assert_eq!(String::from_utf8(line.clone()).unwrap(), format!("{expect}\n"));
        let read: crate::client::Event = serde_json::from_slice(&line).unwrap();
        assert_eq!(read.action, event.action.as_str());
        assert_eq!(read.node.unwrap().modified_index, event.index());
    }

    #[test]
    fn fields_are_ordered_and_empty_ones_omitted() {
        let mut node = file("/foo", "body", 7);
        check(
            &Event { action: Action::Get, node: node.clone(), prev_node: None },
            r#"{"action":"get","node":{"key":"/foo","value":"body","modifiedIndex":7,"createdIndex":7}}"#,
        );
        node.expiration = Some(NOW.plus_seconds(5));
        let gone =
            Node { value: None, created_index: 3, modified_index: 9, expiration: None, ..node.clone() };
        check(
            &Event { action: Action::Expire, node: gone, prev_node: Some(node) },
            r#"{"action":"expire","node":{"key":"/foo","modifiedIndex":9,"createdIndex":3},"prevNode":{"key":"/foo","value":"body","expiration":"2026-11-20T06:46:54Z","ttl":5,"modifiedIndex":7,"createdIndex":7}}"#,
        );
    }

    #[test]
    fn the_root_has_neither_key_nor_indexes() {
        let root = Node { value: None, dir: true, modified_index: 0, created_index: 0, ..file("/", "", 0) };
        let mut event = Event { action: Action::Get, node: root, prev_node: None };
        check(&event, r#"{"action":"get","node":{"dir":true}}"#);
        event.node.nodes = vec![file("/a", "", 4), file("/b", "<", 5)];
        check(
            &event,
            r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","value":"","modifiedIndex":4,"createdIndex":4},{"key":"/b","value":"\u003c","modifiedIndex":5,"createdIndex":5}]}}"#,
        );
    }

    #[test]
    fn ttl_is_rounded_up_and_may_be_negative() {
        let ttl = |nanos: i64| {
            let at = NOW.unix_nanos().checked_add_signed(nanos).unwrap();
            let mut node = file("/t", "", 1);
            node.expiration = Some(Timestamp::from_unix_nanos(at));
            let mut out = Vec::new();
            node.write_json(&mut out, NOW);
            let node: crate::client::Node = serde_json::from_slice(&out).unwrap();
            (String::from_utf8(out).unwrap().contains("ttl"), node.ttl)
        };
        assert_eq!(ttl(4_000_000_001), (true, 5));
        assert_eq!(ttl(1), (true, 1));
        assert_eq!(ttl(0), (false, 0));
        assert_eq!(ttl(-999_999_999), (false, 0));
        assert_eq!(ttl(-1_000_000_000), (true, -1));
    }

    #[test]
    fn errors_omit_an_empty_cause() {
        let error = ApiError::invalid_request(ErrorCode::InvalidField, "invalid value for \"recursive\"");
        assert_eq!(
            String::from_utf8(error.to_json_line()).unwrap(),
            "{\"errorCode\":209,\"message\":\"Invalid field\",\"cause\":\"invalid value for \\\"recursive\\\"\",\"index\":0}\n"
        );
        let error = ApiError::new(ErrorCode::NotAFile, "", 7);
        let line = error.to_json_line();
        assert_eq!(line, b"{\"errorCode\":102,\"message\":\"Not a file\",\"index\":7}\n");
        let read: crate::client::Error = serde_json::from_slice(&line).unwrap();
        assert_eq!((read.error_code, read.index, read.cause.as_str()), (102, 7, ""));
    }
}
