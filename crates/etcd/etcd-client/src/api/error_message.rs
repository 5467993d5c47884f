//! Responses of members, users and roles: JSON on success, otherwise `{"message":"…"}`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::event::invalid_json;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::{Call, Reply};

#[derive(Deserialize)]
struct ErrorMessage {
    message: String,
}

impl Client {
    /// Sends a request; fails unless the status is one of `expected`.
    pub(super) async fn send_expecting(
        &self,
        call: &Call,
        expected: &[u16],
    ) -> Result<(Endpoint, Reply), Error> {
        let (endpoint, reply) = self.send(call).await?;
        let status = reply.status.as_u16();
        if expected.contains(&status) {
            return Ok((endpoint, reply));
        }
        Err(match serde_json::from_slice::<ErrorMessage>(&reply.body) {
            Ok(ErrorMessage { message }) => Error::Refused { status, message },
            Err(_) => Error::Status { endpoint, status },
        })
    }

    /// [`Client::send_expecting`] with a JSON response.
    pub(super) async fn send_for_json<T: DeserializeOwned>(
        &self,
        call: &Call,
        expected: &[u16],
    ) -> Result<T, Error> {
        let (endpoint, reply) = self.send_expecting(call, expected).await?;
        serde_json::from_slice(&reply.body).map_err(|error| invalid_json(&endpoint, &error))
    }
}
