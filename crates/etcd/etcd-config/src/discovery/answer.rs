//! What the discovery service answers: the keys API's events and errors, as far as discovery looks at them.

use etcd_api::received::{Error, Event, Node};

/// From the hands: the whole answer, redirects followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// `X-Etcd-Index`.
    pub index: Option<u64>,
    pub body: Vec<u8>,
}

/// The last segment of a key: of a registration the member's id.
pub fn base(node: &Node) -> &str {
    node.key.rsplit('/').next().unwrap_or_default()
}

pub fn value(node: &Node) -> &str {
    node.value.as_deref().unwrap_or_default()
}

pub enum Read {
    Changed {
        action: String,
        node: Node,
    },
    Refused(Error),
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
        200 | 201 => event(&answer.body).unwrap_or(Read::NotJson),
        429 | 500.. => Read::Unwell(answer.status),
        _ => serde_json::from_slice(&answer.body).map_or(Read::NotJson, Read::Refused),
    }
}

fn event(body: &[u8]) -> Option<Read> {
    let event: Event = serde_json::from_slice(body).ok()?;
    Some(Read::Changed { action: event.action, node: event.node? })
}
