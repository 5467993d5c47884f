//! Answers as a client reads them: text, and whatever fields the server sent.

use serde::Deserialize;

/// A success answer or a watched event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub action: String,
    /// Absent where `noValueOnSuccess` was asked.
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
    /// Seconds; 0 where absent, negative for a key past its time.
    pub ttl: i64,
    pub nodes: Vec<Node>,
    pub modified_index: u64,
    pub created_index: u64,
}

/// An error answer of any etcd, also with codes that this version does not know.
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
