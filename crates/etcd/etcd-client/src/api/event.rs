//! Success answers of the keys, and events.

pub use etcd_api::received::{Event, Node};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::wire::Reply;

/// An event, and the store's index when the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub event: Event,
    /// `X-Etcd-Index`. A watch that follows a read begins after it.
    pub index: u64,
}

impl Answer {
    /// The node that the answer is about; an empty one where the server sent none.
    pub fn node(&self) -> Node {
        self.event.node.clone().unwrap_or_default()
    }
}

pub(crate) fn event_of(endpoint: &Endpoint, bytes: &[u8]) -> Result<Event, Error> {
    serde_json::from_slice(bytes).map_err(|error| invalid(endpoint, &error))
}

/// A keys answer: an event for 200 and 201, else the store's error.
pub(crate) fn answer_of(endpoint: &Endpoint, reply: &Reply) -> Result<Answer, Error> {
    match reply.status.as_u16() {
        200 | 201 => Ok(Answer { event: event_of(endpoint, &reply.body)?, index: reply.index() }),
        _ => Err(error_of(endpoint, &reply.body)),
    }
}

pub(crate) fn error_of(endpoint: &Endpoint, body: &[u8]) -> Error {
    match serde_json::from_slice::<etcd_api::received::Error>(body) {
        Ok(told) => {
            Error::Api { code: told.error_code, message: told.message, cause: told.cause, index: told.index }
        }
        Err(error) => invalid(endpoint, &error),
    }
}

pub(crate) fn invalid(endpoint: &Endpoint, error: &serde_json::Error) -> Error {
    Error::InvalidJson { endpoint: endpoint.clone(), problem: error.to_string() }
}
