//! Responses as parsed by clients, tolerant of missing fields.

use serde::Deserialize;

/// A successful response or a watch event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// An [`Action`](crate::Action), or one that is unknown here.
    pub action: String,
    /// Absent with `noValueOnSuccess`.
    #[serde(default)]
    pub node: Option<Node>,
    /// The node before a change; absent if there was none.
    #[serde(default)]
    pub prev_node: Option<Node>,
}

/// A node; the root has neither key nor indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Absolute path; empty for the root.
    pub key: String,
    /// `None` for directories, and for removed nodes.
    pub value: Option<String>,
    /// A directory, whose children are `nodes`.
    pub dir: bool,
    /// RFC 3339.
    pub expiration: Option<String>,
    /// Seconds; 0 if absent, negative for an expired key.
    pub ttl: i64,
    /// Children of a directory, if it was listed.
    pub nodes: Vec<Node>,
    /// Index of the last change, a TTL included.
    pub modified_index: u64,
    /// Index of the creation.
    pub created_index: u64,
}

/// An error response of any etcd, including unknown codes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{error_code}: {message} ({cause}) [{index}]")]
pub struct Error {
    /// Compare with [`ErrorCode::number`](crate::ErrorCode::number).
    pub error_code: u32,
    /// The message of the code.
    #[serde(default)]
    pub message: String,
    /// Usually the key; may be empty.
    #[serde(default)]
    pub cause: String,
    /// The store's index; 0 if the request was invalid.
    #[serde(default)]
    pub index: u64,
}
