//! Responses in the format of the original.

use bytes::Bytes;
use fleet_api::{ErrorDocument, encode};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::backend::Failure;
use crate::payload::Payload;

pub type ApiResponse = Response<Payload>;

/// Errors are documents with their status code.
pub type ApiResult = Result<ApiResponse, ErrorDocument>;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A response without body and content type.
pub fn empty_response(status: StatusCode) -> ApiResponse {
    let mut response = Response::new(Payload::Full(Bytes::new()));
    *response.status_mut() = status;
    response
}

pub fn response(content_type: HeaderValue, payload: Payload) -> ApiResponse {
    let mut response = Response::new(payload);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

pub fn json<T: Serialize>(value: &T) -> ApiResult {
    match encode(value) {
        Ok(text) => Ok(response(JSON, Payload::Full(text.into()))),
        Err(error) => Err(internal_error("cannot write the response", &error)),
    }
}

pub fn api_error(code: u16, message: impl Into<String>) -> ErrorDocument {
    ErrorDocument::new(code, message)
}

pub fn path_not_found() -> ErrorDocument {
    api_error(404, "")
}

pub fn method_not_allowed(message: &str) -> ErrorDocument {
    api_error(405, message)
}

pub fn unit_not_found() -> ErrorDocument {
    api_error(404, "unit does not exist")
}

/// An internal error. The cause is logged and not sent to the client.
pub fn internal_error(what: &str, error: &dyn std::fmt::Display) -> ErrorDocument {
    tracing::error!("{what}: {error}");
    api_error(500, "")
}

/// `missing` is the response if the object no longer exists.
pub fn backend_error(failure: Failure, missing: fn() -> ErrorDocument) -> ErrorDocument {
    match failure {
        Failure::NoStore => ErrorDocument::no_store(),
        Failure::Store(why) => internal_error("the store refused", &why),
        Failure::Missing => missing(),
    }
}

pub fn error_response(document: &ErrorDocument) -> ApiResponse {
    let status = StatusCode::from_u16(document.error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // invariant: a number and a string are always encodable.
    let text = encode(document).unwrap_or_default();
    let mut response = self::response(JSON, Payload::Full(text.into()));
    *response.status_mut() = status;
    response
}
