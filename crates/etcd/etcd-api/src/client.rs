//! Responses as parsed by clients, tolerant of missing fields.

use serde::Deserialize;

/// A successful response or a watch event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub action: String,
    /// Absent with `noValueOnSuccess`.
    #[serde(default)]
    pub node: Option<Node>,
    #[serde(default)]
    pub prev_node: Option<Node>,
}

/// A node; the root has neither key nor indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    pub key: String,
    pub value: Option<String>,
    pub dir: bool,
    /// RFC 3339.
    pub expiration: Option<String>,
    /// Seconds; 0 if absent, negative for an expired key.
    pub ttl: i64,
    pub nodes: Vec<Node>,
    pub modified_index: u64,
    pub created_index: u64,
}

/// An error response of any etcd, including unknown codes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{error_code}: {message} ({cause}) [{index}]")]
pub struct Error {
    pub error_code: u32,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub cause: String,
    #[serde(default)]
    pub index: u64,
}
