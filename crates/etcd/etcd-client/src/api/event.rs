//! Responses of the keys API, and events.

pub use etcd_api::client::{Event, Node};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::Reply;

/// A successful response of the keys API: the event, and the store's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// For a read, its `action` is `get`.
    pub event: Event,
    /// `X-Etcd-Index`. A watch after a read starts after this index.
    pub index: u64,
}

impl Response {
    /// The response's node; an empty one if the server sent none.
    pub fn node(&self) -> Node {
        self.event.node.clone().unwrap_or_default()
    }
}

pub(crate) fn parse_event(endpoint: &Endpoint, bytes: &[u8]) -> Result<Event, Error> {
    serde_json::from_slice(bytes).map_err(|error| invalid_json(endpoint, &error))
}

/// Parses a response of the keys API: an event for 200 and 201, otherwise the store's error.
pub(crate) fn parse_response(endpoint: &Endpoint, reply: &Reply) -> Result<Response, Error> {
    match reply.status.as_u16() {
        200 | 201 => Ok(Response { event: parse_event(endpoint, &reply.body)?, index: reply.index() }),
        _ => Err(parse_error(endpoint, &reply.body)),
    }
}

pub(crate) fn parse_error(endpoint: &Endpoint, body: &[u8]) -> Error {
    match serde_json::from_slice::<etcd_api::client::Error>(body) {
        Ok(error) => Error::Api {
            code: error.error_code,
            message: error.message,
            cause: error.cause,
            index: error.index,
        },
        Err(error) => invalid_json(endpoint, &error),
    }
}

pub(crate) fn invalid_json(endpoint: &Endpoint, error: &serde_json::Error) -> Error {
    Error::InvalidJson { endpoint: endpoint.clone(), problem: error.to_string() }
}
