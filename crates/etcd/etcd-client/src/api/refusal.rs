//! Answers of members, users and roles: JSON when all is well, else `{"message":"…"}`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::event::invalid;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::wire::{Call, Reply};

#[derive(Deserialize)]
struct Told {
    message: String,
}

impl Client {
    /// Asks, and fails unless the status is one of `good`.
    pub(super) async fn ask_for(&self, call: &Call, good: &[u16]) -> Result<(Endpoint, Reply), Error> {
        let (endpoint, reply) = self.ask(call).await?;
        let status = reply.status.as_u16();
        if good.contains(&status) {
            return Ok((endpoint, reply));
        }
        Err(match serde_json::from_slice::<Told>(&reply.body) {
            Ok(Told { message }) => Error::Refused { status, message },
            Err(_) => Error::Status { endpoint, status },
        })
    }

    /// [`Client::ask_for`] with a JSON answer.
    pub(super) async fn ask_json<T: DeserializeOwned>(&self, call: &Call, good: &[u16]) -> Result<T, Error> {
        let (endpoint, reply) = self.ask_for(call, good).await?;
        serde_json::from_slice(&reply.body).map_err(|error| invalid(&endpoint, &error))
    }
}
