//! `/v1`: the read-only part of 0.4's API. Writes are rejected.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, Form as Fields, Key};
use etcd_store::Access;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::backend::{Backend, WatchOptions};
use crate::body;
use crate::context::Context;
use crate::response::{self, HttpResponse, TEXT};
use crate::server::Reply;
use crate::watch::{WatchChunks, WatchFormat};

pub(crate) const KEYS: &str = "/v1/keys";
pub(crate) const WATCH: &str = "/v1/watch";

fn key_of(path: &[u8], prefix: &str) -> Result<Key, ApiError> {
    let rest = path.get(prefix.len()..).unwrap_or_default();
    Key::parse(rest).map_err(|error| response::form_error(error.to_string()))
}

/// GET and HEAD of a key.
pub(crate) async fn keys<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response::wrong_method("GET,HEAD");
    }
    match read(context, request.headers(), path).await {
        Ok(response) => response,
        Err(error) => context.api_error(&error),
    }
}

async fn read<B: Backend>(
    context: &Context<B>,
    headers: &HeaderMap,
    path: &[u8],
) -> Result<HttpResponse, ApiError> {
    let key = key_of(path, KEYS)?;
    context.check_key(headers, &key, false, Access::Read).await?;
    let (found, index) = context.backend.read(|store| (store.get(&key, false), store.index()));
    Ok(response::text(Bytes::from(found?.to_v1_json(Some(index), context.backend.now()))))
}

/// GET: the next change of a key; POST with `index=N`: the first one at or after N.
pub(crate) async fn watch<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> Reply<WatchChunks<B::Watch>> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Reply::Response(response::wrong_method("GET,POST"));
    }
    follow(context, path, request).await.unwrap_or_else(|error| Reply::Response(context.api_error(&error)))
}

async fn follow<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> Result<Reply<WatchChunks<B::Watch>>, ApiError> {
    let (parts, incoming) = request.into_parts();
    let body = body::read(incoming).await.map_err(|error| response::form_error(error.to_string()))?;
    let key = key_of(path, WATCH)?;
    let since = if parts.method == Method::POST { index(&parts, &body)? } else { None };
    context.check_key(&parts.headers, &key, false, Access::Read).await?;
    context.metrics.watch_requested();
    let options = WatchOptions { key, recursive: false, since, stream: false };
    let watching = context.backend.watch(&options)?;
    if let (None, Some(event)) = (&watching.live, watching.history.first()) {
        return Ok(Reply::Response(response::text(context.event_cache.get_v1(event).text())));
    }
    let chunks = WatchChunks::new(Arc::clone(&context.event_cache), watching, WatchFormat::V1);
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::OK;
    head.headers_mut().insert(CONTENT_TYPE, TEXT);
    Ok(Reply::Stream(head, chunks))
}

fn index(parts: &Parts, body: &Bytes) -> Result<Option<u64>, ApiError> {
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let form = Fields::parse(parts.uri.query(), content_type, Some(body))
        .map_err(|error| response::form_error(error.to_string()))?;
    let Some(text) = form.get("index") else { return Ok(None) };
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| ApiError::invalid_request(ErrorCode::IndexNotANumber, "Watch From Index"))
}
