//! What the discovery service answers: the keys API's events and errors, as far as discovery looks at them.

use serde::Deserialize;

/// From the hands: the whole answer, redirects followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// `X-Etcd-Index`.
    pub index: Option<u64>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct KeyEvent {
    pub action: String,
    pub node: Node,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub created_index: u64,
    #[serde(default)]
    pub modified_index: u64,
}

impl Node {
    /// The last segment of the key: of a registration the member's id.
    pub fn base(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyError {
    pub error_code: u32,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub cause: String,
    #[serde(default)]
    pub index: u64,
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {} ({}) [{}]", self.error_code, self.message, self.cause, self.index)
    }
}

pub enum Read {
    Event(KeyEvent),
    Error(KeyError),
    /// 5xx, or too many requests: the service is there, but not now.
    Unwell(u16),
    /// 200 without a body, as a watch gives that a proxy has cut.
    Empty,
    /// Whatever this is, it is no etcd.
    NotJson,
}

pub fn read(answer: &HttpAnswer) -> Read {
    match answer.status {
        200 | 201 if answer.body.is_empty() => Read::Empty,
        200 | 201 => serde_json::from_slice(&answer.body).map_or(Read::NotJson, Read::Event),
        429 | 500.. => Read::Unwell(answer.status),
        _ => serde_json::from_slice(&answer.body).map_or(Read::NotJson, Read::Error),
    }
}
