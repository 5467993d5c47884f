//! Responses as etcd's clients expect them: status, headers, and fixed texts.

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, push_json_string};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::server::Payload;

pub(crate) type HttpResponse = Response<Payload>;

pub(crate) const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
pub(crate) const STORE_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
pub(crate) const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
pub(crate) const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A response with a content type.
pub(crate) fn with(status: StatusCode, kind: HeaderValue, payload: impl Into<Payload>) -> HttpResponse {
    let mut response = empty(status, payload);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(crate) fn json(payload: impl Into<Payload>) -> HttpResponse {
    with(StatusCode::OK, JSON, payload)
}

pub(crate) fn text(payload: impl Into<Payload>) -> HttpResponse {
    with(StatusCode::OK, TEXT, payload)
}

/// A response without a content type.
pub(crate) fn empty(status: StatusCode, payload: impl Into<Payload>) -> HttpResponse {
    let mut response = Response::new(payload.into());
    *response.status_mut() = status;
    response
}

pub(crate) fn no_content(status: StatusCode) -> HttpResponse {
    empty(status, Payload::Empty)
}

/// A text response as from Go's `http.Error`.
pub(crate) fn plain_error(status: StatusCode, body: impl Into<Payload>) -> HttpResponse {
    let mut response = with(status, TEXT, body);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

pub(crate) fn not_found() -> HttpResponse {
    plain_error(StatusCode::NOT_FOUND, "404 page not found\n")
}

pub(crate) fn wrong_method(allow: &'static str) -> HttpResponse {
    let mut response = plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// `{"message":"..."}` without a newline: errors of members, leader statistics and auth.
pub(crate) fn message(status: StatusCode, text: &str) -> HttpResponse {
    let mut body = Vec::with_capacity(text.len() + 16);
    body.extend_from_slice(b"{\"message\":");
    push_json_string(&mut body, text.as_bytes());
    body.push(b'}');
    with(status, JSON, Bytes::from(body))
}

/// JSON of a value whose map keys are strings, which cannot fail.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// An error of the keys API, with its headers.
pub(crate) fn api_error(error: &ApiError, cluster: &HeaderValue) -> HttpResponse {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = with(status, JSON, Bytes::from(error.to_json_line()));
    let headers = response.headers_mut();
    headers.insert(CLUSTER_ID, cluster.clone());
    headers.insert(STORE_INDEX, HeaderValue::from(error.index));
    response
}

pub(crate) fn form_error(cause: impl Into<String>) -> ApiError {
    ApiError::invalid_request(ErrorCode::InvalidForm, cause)
}
