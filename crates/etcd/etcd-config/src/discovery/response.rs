//! Responses of the discovery service: events and errors of the keys API.

use etcd_api::client::{Error, Event, Node};

/// A complete response, after redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    /// `X-Etcd-Index`.
    pub index: Option<u64>,
    pub body: Vec<u8>,
}

/// The last segment of a key; for a registration, the member id.
pub fn last_segment(node: &Node) -> &str {
    node.key.rsplit('/').next().unwrap_or_default()
}

pub fn value(node: &Node) -> &str {
    node.value.as_deref().unwrap_or_default()
}

pub enum Parsed {
    Changed {
        action: String,
        node: Node,
    },
    Refused(Error),
    /// 5xx or 429: temporarily unavailable.
    Unavailable(u16),
    /// 200 without a body: a watch that was closed by a proxy.
    Empty,
    /// Not a response of etcd.
    NotJson,
}

pub fn parse(response: &HttpResponse) -> Parsed {
    match response.status {
        200 | 201 if response.body.is_empty() => Parsed::Empty,
        200 | 201 => event(&response.body).unwrap_or(Parsed::NotJson),
        429 | 500.. => Parsed::Unavailable(response.status),
        _ => serde_json::from_slice(&response.body).map_or(Parsed::NotJson, Parsed::Refused),
    }
}

fn event(body: &[u8]) -> Option<Parsed> {
    let event: Event = serde_json::from_slice(body).ok()?;
    Some(Parsed::Changed { action: event.action, node: event.node? })
}
