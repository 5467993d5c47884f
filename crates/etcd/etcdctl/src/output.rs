//! Formats responses: simple, extended, json.

use etcd_client::{Node, Response};
use serde::Serialize;

use crate::failure::{Exit, Failure};

pub const FORMATS: &[&str] = &["simple", "extended", "json"];

/// The formatted response, with a final newline.
pub fn format_response(response: &Response, format: &str) -> Result<String, Failure> {
    match format {
        "simple" => Ok(simple(response)),
        "extended" => Ok(extended(response)),
        "json" => json(response),
        // Exit code 0, as in the original: the request succeeded, only its result cannot be printed.
        other => Err(Failure::new(Exit::Success, format!("Unsupported output format: {other}"))),
    }
}

fn value(node: &Node) -> &str {
    node.value.as_deref().unwrap_or_default()
}

fn old_value(response: &Response) -> Option<&str> {
    response.event.prev_node.as_ref().map(value)
}

fn simple(response: &Response) -> String {
    match response.event.action.as_str() {
        "delete" => format!("PrevNode.Value: {}\n", old_value(response).unwrap_or_default()),
        _ => format!("{}\n", response.event.node.as_ref().map(value).unwrap_or_default()),
    }
}

fn extended(response: &Response) -> String {
    let node = response.node();
    let mut text = format!(
        "Key: {}\nCreated-Index: {}\nModified-Index: {}\n",
        node.key, node.created_index, node.modified_index
    );
    if let Some(old) = old_value(response) {
        text.push_str(&format!("PrevNode.Value: {old}\n"));
    }
    text.push_str(&format!("TTL: {}\nIndex: {}\n", node.ttl, response.index));
    if response.event.action != "delete" {
        text.push_str(&format!("\n{}\n", value(&node)));
    }
    text
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    action: &'a str,
    node: Option<JsonNode<'a>>,
    #[serde(rename = "prevNode")]
    prev_node: Option<JsonNode<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonNode<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dir: bool,
    value: &'a str,
    nodes: Option<Vec<JsonNode<'a>>>,
    created_index: u64,
    modified_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

impl<'a> JsonNode<'a> {
    fn of(node: &'a Node) -> JsonNode<'a> {
        JsonNode {
            key: &node.key,
            dir: node.dir,
            value: value(node),
            nodes: (!node.nodes.is_empty()).then(|| node.nodes.iter().map(JsonNode::of).collect()),
            created_index: node.created_index,
            modified_index: node.modified_index,
            expiration: node.expiration.as_deref(),
            ttl: (node.ttl != 0).then_some(node.ttl),
        }
    }
}

fn json(response: &Response) -> Result<String, Failure> {
    let event = JsonEvent {
        action: &response.event.action,
        node: response.event.node.as_ref().map(JsonNode::of),
        prev_node: response.event.prev_node.as_ref().map(JsonNode::of),
    };
    match go_compat::to_string(&event) {
        Ok(text) => Ok(format!("{text}\n")),
        Err(error) => Err(Failure::error(Exit::Server, &error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd_client::Event;

    fn node(key: &str, value: &str) -> Node {
        Node {
            key: key.into(),
            value: Some(value.into()),
            modified_index: 7,
            created_index: 6,
            ..Node::default()
        }
    }

    fn check(action: &str, node: Option<Node>, prev_node: Option<Node>, format: &str, expect: &str) {
        let response = Response { event: Event { action: action.into(), node, prev_node }, index: 9 };
        assert_eq!(format_response(&response, format).unwrap(), expect, "{action} {format}");
    }

    #[test]
    fn all_formats() {
        let (foo, old) = (Some(node("/foo", "a<b\u{8}\n")), Some(node("/foo", "old")));
        check("set", foo.clone(), old.clone(), "simple", "a<b\u{8}\n\n");
        check("delete", foo.clone(), old.clone(), "simple", "PrevNode.Value: old\n");
        let removed = Some(Node { value: None, ..node("/foo", "") });
        check("compareAndDelete", removed.clone(), old.clone(), "simple", "\n");
        check("expire", removed.clone(), old.clone(), "simple", "\n");
        check(
            "set",
            foo.clone(),
            old.clone(),
            "extended",
            "Key: /foo\nCreated-Index: 6\nModified-Index: 7\nPrevNode.Value: old\nTTL: 0\nIndex: 9\n\na<b\u{8}\n\n",
        );
        check(
            "delete",
            removed,
            old.clone(),
            "extended",
            "Key: /foo\nCreated-Index: 6\nModified-Index: 7\nPrevNode.Value: old\nTTL: 0\nIndex: 9\n",
        );
        check(
            "set",
            foo,
            None,
            "json",
            "{\"action\":\"set\",\"node\":{\"key\":\"/foo\",\"value\":\"a\\u003cb\\u0008\\n\",\"nodes\":null,\
             \"createdIndex\":6,\"modifiedIndex\":7},\"prevNode\":null}\n",
        );
    }

    #[test]
    fn an_unknown_format_exits_with_zero() {
        let response =
            Response { event: Event { action: "get".into(), node: None, prev_node: None }, index: 1 };
        let failure = format_response(&response, "bogus").unwrap_err();
        assert_eq!(failure, Failure::new(Exit::Success, "Unsupported output format: bogus"));
    }
}
