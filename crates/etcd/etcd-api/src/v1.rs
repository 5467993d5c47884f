//! Responses in the format of the v1 API, `/v1/keys`, which is read-only.

use crate::event_json::Fields;
use crate::json_text::{push_number, push_string};
use crate::{Action, Event, Node, Timestamp};

impl Event {
    /// A v1 body, without a newline: an object for a file, an array with one level for a directory. Responses to GET
    /// have the `store_index`; a watch event has its own index (`None`).
    pub fn to_v1_json(&self, store_index: Option<u64>, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::new();
        if self.node.dir && self.action == Action::Get {
            out.push(b'[');
            for (position, child) in self.node.nodes.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                let index = store_index.unwrap_or(child.modified_index);
                let answer = V1Response { action: "get", node: child, previous: None, new_key: false, index };
                answer.write(&mut out, None);
            }
            out.push(b']');
            return out;
        }
        let previous = self.prev_node.as_ref();
        let answer = V1Response {
            action: match self.action {
                Action::Create | Action::CompareAndSwap => "testAndSet",
                action => action.as_str(),
            },
            node: &self.node,
            previous,
            new_key: self.action == Action::Set && previous.is_none(),
            index: store_index.unwrap_or(self.node.modified_index),
        };
        answer.write(&mut out, Some(now));
        out
    }
}

struct V1Response<'a> {
    action: &'a str,
    node: &'a Node,
    previous: Option<&'a Node>,
    new_key: bool,
    index: u64,
}

impl V1Response<'_> {
    /// Without `now` the TTL is omitted, as in listings.
    fn write(&self, out: &mut Vec<u8>, now: Option<Timestamp>) {
        let mut fields = Fields::start(out);
        push_string(fields.name("action"), self.action.as_bytes());
        push_string(fields.name("key"), self.node.key.as_bytes());
        if self.node.dir {
            fields.name("dir").extend_from_slice(b"true");
        }
        if let Some(value) = self.previous.and_then(|node| node.value.as_ref()) {
            push_string(fields.name("prevValue"), value);
        }
        if let Some(value) = &self.node.value {
            push_string(fields.name("value"), value);
        }
        if self.new_key {
            fields.name("newKey").extend_from_slice(b"true");
        }
        if let (Some(now), Some(expiration)) = (now, self.node.expiration) {
            push_string(fields.name("expiration"), expiration.to_string().as_bytes());
            fields.number("ttl", expiration.seconds_left(now));
        }
        push_number(fields.name("index"), self.index);
        fields.end();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Key;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_795_157_209_000_000_000);

    fn node(key: &str, value: Option<&'static str>, index: u64) -> Node {
        Node {
            key: Key::parse(key).unwrap(),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
            dir: value.is_none(),
            expiration: None,
            nodes: Vec::new(),
            modified_index: index,
            created_index: index,
        }
    }

    #[track_caller]
    fn check(event: &Event, store_index: Option<u64>, expect: &str) {
        assert_eq!(String::from_utf8(event.to_v1_json(store_index, NOW)).unwrap(), expect);
    }

    #[test]
    fn reads_have_the_store_index() {
        let mut event = Event { action: Action::Get, node: node("/foo", Some("four"), 3), prev_node: None };
        check(&event, Some(8), r#"{"action":"get","key":"/foo","value":"four","index":8}"#);
        event.node.expiration = Some(NOW.plus_seconds(10));
        check(
            &event,
            Some(6),
            r#"{"action":"get","key":"/foo","value":"four","expiration":"2026-11-20T06:46:59Z","ttl":10,"index":6}"#,
        );
    }

    #[test]
    fn directories_are_arrays() {
        let mut event = Event { action: Action::Get, node: node("/dir", None, 3), prev_node: None };
        check(&event, Some(10), "[]");
        event.node.nodes = vec![node("/dir/a", Some("1"), 4), node("/dir/sub", None, 5)];
        check(
            &event,
            Some(10),
            r#"[{"action":"get","key":"/dir/a","value":"1","index":10},{"action":"get","key":"/dir/sub","dir":true,"index":10}]"#,
        );
    }

    #[test]
    fn events_have_their_own_index() {
        let set = Event { action: Action::Set, node: node("/foo", Some("one"), 3), prev_node: None };
        check(&set, None, r#"{"action":"set","key":"/foo","value":"one","newKey":true,"index":3}"#);
        let previous = Some(node("/foo", Some("one"), 3));
        let swap =
            Event { action: Action::CompareAndSwap, node: node("/foo", Some("two"), 4), prev_node: previous };
        check(
            &swap,
            None,
            r#"{"action":"testAndSet","key":"/foo","prevValue":"one","value":"two","index":4}"#,
        );
        let gone = Node { dir: false, ..node("/foo", None, 11) };
        let delete =
            Event { action: Action::Delete, node: gone, prev_node: Some(node("/foo", Some("four"), 4)) };
        check(&delete, None, r#"{"action":"delete","key":"/foo","prevValue":"four","index":11}"#);
    }
}
