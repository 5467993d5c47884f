//! Answers as the original's clients know them.

use bytes::Bytes;
use fleet_api::{ErrorDocument, encode};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::backend::Failure;
use crate::payload::Payload;

pub type Answer = Response<Payload>;

/// A refusal is a document with its status.
pub type Answered = Result<Answer, ErrorDocument>;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Without body and type.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Payload::Full(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

pub fn with(kind: HeaderValue, payload: Payload) -> Answer {
    let mut answer = Response::new(payload);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

pub fn json<T: Serialize>(value: &T) -> Answered {
    match encode(value) {
        Ok(text) => Ok(with(JSON, Payload::Full(text.into()))),
        Err(error) => Err(broken("an answer cannot be written", &error)),
    }
}

pub fn refuse(code: u16, message: impl Into<String>) -> ErrorDocument {
    ErrorDocument::new(code, message)
}

/// Nothing is at this path.
pub fn unknown_path() -> ErrorDocument {
    refuse(404, "")
}

pub fn wrong_method(message: &str) -> ErrorDocument {
    refuse(405, message)
}

pub fn no_unit() -> ErrorDocument {
    refuse(404, "unit does not exist")
}

/// Something went wrong here: why is for the log, not for the client.
pub fn broken(what: &str, error: &dyn std::fmt::Display) -> ErrorDocument {
    tracing::error!("{what}: {error}");
    refuse(500, "")
}

/// `missing` is said where what it was about is gone.
pub fn failed(failure: Failure, missing: fn() -> ErrorDocument) -> ErrorDocument {
    match failure {
        Failure::NoStore => ErrorDocument::no_store(),
        Failure::Store(why) => broken("the store refused", &why),
        Failure::Missing => missing(),
        Failure::Refused(code, why) => refuse(code, why),
    }
}

/// The refusal as an answer.
pub fn refused(document: &ErrorDocument) -> Answer {
    let status = StatusCode::from_u16(document.error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Two fields, a number and a text: there is nothing in it that JSON cannot hold.
    let text = encode(document).unwrap_or_default();
    let mut answer = with(JSON, Payload::Full(text.into()));
    *answer.status_mut() = status;
    answer
}
