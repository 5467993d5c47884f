//! Response bodies, in full or streamed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

pub type HttpResponse = Response<Body>;

pub enum Body {
    Full(Option<Bytes>),
    /// `remaining`: bytes not yet sent, if the length is known.
    Stream {
        chunks: mpsc::Receiver<io::Result<Bytes>>,
        remaining: Option<u64>,
    },
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { chunks, remaining } => chunks.poll_recv(context).map(|chunk| {
                let chunk = chunk?;
                if let (Ok(chunk), Some(remaining)) = (&chunk, remaining) {
                    *remaining = remaining.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                }
                Some(chunk.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream { remaining, .. } => *remaining == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Stream { remaining: Some(remaining), .. } => SizeHint::with_exact(*remaining),
            Self::Stream { remaining: None, .. } => SizeHint::default(),
        }
    }
}

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
