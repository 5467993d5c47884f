//! Responses.

use bytes::Bytes;
use http_server::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

pub type HttpResponse = Response<Body>;

pub fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(Body::Full(Some(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub fn text(status: StatusCode, text: impl Into<String>) -> HttpResponse {
    response(status, "text/plain; charset=utf-8", text.into())
}

pub fn json(status: StatusCode, value: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            response(status, "application/json", bytes)
        }
        Err(error) => {
            tracing::error!(%error, "cannot serialize the response");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error: cannot serialize the response\n")
        }
    }
}

/// `{"error": "..."}`.
pub fn error_response(status: StatusCode, error: impl std::fmt::Display) -> HttpResponse {
    json(status, &serde_json::json!({ "error": error.to_string() }))
}
