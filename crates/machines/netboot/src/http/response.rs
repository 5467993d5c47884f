//! Responses.

use bytes::Bytes;
use http_server::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

pub type HttpResponse = Response<Body>;

/// Content type of text.
pub const TEXT: &str = "text/plain; charset=utf-8";

pub fn text(status: StatusCode, text: impl Into<String>) -> HttpResponse {
    content_response(status, TEXT, text.into())
}

pub fn content_response(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(Body::Full(Some(content.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
