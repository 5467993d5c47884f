//! Any input yields a response or an error, never a panic; all output is JSON.

#![allow(clippy::unwrap_used)] // Outside of `#[test]` functions too: this is all test.

use bytes::Bytes;
use etcd_api::{
    Action, Event, Key, KeysRequest, Method, Node, RequestParts, RequestPath, Timestamp, client, keys_path,
    to_text,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Text with many special characters.
fn raw() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop_oneof![
            Just("/"), Just("%"), Just("%2F"), Just("%ff"), Just("&"), Just("="), Just(";"), Just("+"), Just(".."),
            Just("ttl"), Just("wait=true"), Just("refresh=true"), Just("prevIndex=1"), Just("value=x"),
        ].prop_map(str::to_owned),
        1 => ".{0,4}",
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::Head),
        Just(Method::Get),
        Just(Method::Put),
        Just(Method::Post),
        Just(Method::Delete)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_has_a_response(method in method(), path in raw(), query in raw(), body in raw(), form: bool) {
        match RequestPath::parse(&format!("/v2/keys/{path}"), Some(&query)) {
            RequestPath::Malformed => prop_assert!(path.contains('%')),
            RequestPath::Redirect { location } => {
                // A client that follows the redirect is not redirected again.
                let location = location.split('?').next().unwrap();
                prop_assert!(matches!(RequestPath::parse(location, None), RequestPath::Clean(_)), "{}", location);
            }
            RequestPath::Clean(path) => {
                prop_assert!(keys_path(&path).is_some());
                let content_type = form.then_some(&b"application/x-www-form-urlencoded"[..]);
                let parts = RequestParts { method, path: &path, query: Some(&query), content_type, body: body.as_bytes() };
                match KeysRequest::parse(parts) {
                    Err(error) => prop_assert_eq!(error.index, 0),
                    Ok(request) => {
                        let key = request.key().as_bytes().to_vec();
                        prop_assert_eq!(Key::from_clean(Bytes::from(key)), Some(request.key().clone()));
                    }
                }
            }
        }
    }

    #[test]
    fn every_node_is_written_as_json(name in vec(any::<u8>(), 1..8), value in vec(any::<u8>(), 0..64), at: u64, now: u64) {
        let node = Node {
            key: Key::parse([b"/", name.as_slice()].concat()).unwrap(),
            value: Some(Bytes::from(value.clone())),
            dir: false,
            expiration: Some(Timestamp::from_unix_nanos(at)),
            nodes: Vec::new(),
            modified_index: 2,
            created_index: u64::MAX,
        };
        let key = node.key.clone();
        let line = Event { action: Action::Set, node, prev_node: None }.to_json_line(Timestamp::from_unix_nanos(now));
        let read: client::Event = serde_json::from_slice(&line).unwrap();
        let read = read.node.unwrap();
        prop_assert_eq!(read.value.unwrap(), to_text(&value));
        prop_assert_eq!(read.created_index, u64::MAX);
        if !key.is_root() {
            prop_assert_eq!(read.key, to_text(key.as_bytes()));
        }
    }
}
