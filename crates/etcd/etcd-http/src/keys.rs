//! `/v2/keys`: requests to commands and reads, outcomes to responses.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, GetRequest, KeysRequest, Method, RequestParts, Timestamp, WatchRequest};
use etcd_store::{Access, Command, CommandError, Delete, Outcome, Post, Put};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode};

use crate::backend::{Backend, Position, WatchOptions};
use crate::body;
use crate::context::{Context, unavailable};
use crate::metrics::RequestKind;
use crate::response::{self, CLUSTER_ID, HttpResponse, JSON, RAFT_INDEX, RAFT_TERM, STORE_INDEX};
use crate::server::{Payload, Reply};
use crate::watch::{WatchChunks, WatchFormat};

/// Serves a request for a key path.
pub(crate) async fn serve<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> Reply<WatchChunks<B::Watch>> {
    let began = Instant::now();
    let (parts, incoming) = request.into_parts();
    let Some(method) = Method::from_name(parts.method.as_str()) else {
        return Reply::Response(response::wrong_method(Method::ALLOW));
    };
    let parsed = match parse(method, path, &parts, incoming).await {
        Ok(parsed) => parsed,
        Err(error) => {
            let kind = RequestKind::of(method, false);
            context.metrics.received(kind);
            context.metrics.failed(kind, error.http_status());
            return Reply::Response(context.api_error(&error));
        }
    };
    let quorum = matches!(&parsed, KeysRequest::Get(get) if get.quorum);
    let kind = RequestKind::of(method, quorum);
    context.metrics.received(kind);
    match execute(context, &parts.headers, parsed).await {
        Ok(reply) => {
            if matches!(reply, Reply::Response(_)) {
                context.metrics.succeeded(kind, began.elapsed());
            }
            reply
        }
        Err(error) => {
            context.metrics.failed(kind, error.http_status());
            Reply::Response(context.api_error(&error))
        }
    }
}

async fn parse(
    method: Method,
    path: &[u8],
    parts: &Parts,
    incoming: Incoming,
) -> Result<KeysRequest, ApiError> {
    // Read even if unused: the connection's next request follows it.
    let form = body::read(incoming).await.map_err(|error| response::form_error(error.to_string()))?;
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    KeysRequest::parse(RequestParts { method, path, query: parts.uri.query(), content_type, body: &form })
}

async fn execute<B: Backend>(
    context: &Context<B>,
    headers: &HeaderMap,
    request: KeysRequest,
) -> Result<Reply<WatchChunks<B::Watch>>, ApiError> {
    match request {
        KeysRequest::Get(get) => {
            context.check_key(headers, &get.key, get.recursive, Access::Read).await?;
            read(context, &get).await.map(Reply::Response)
        }
        KeysRequest::Watch(watch) => {
            context.check_key(headers, &watch.key, watch.recursive, Access::Read).await?;
            follow(context, watch)
        }
        KeysRequest::Put(put) => {
            context.check_key(headers, &put.key, false, Access::Write).await?;
            let no_value = put.no_value_on_success;
            let now = ttl_start(context, put.ttl_seconds).await?;
            write(context, Command::Put(Put::from_request(put, now)), no_value).await
        }
        KeysRequest::Post(post) => {
            context.check_key(headers, &post.key, false, Access::Write).await?;
            let no_value = post.no_value_on_success;
            let now = ttl_start(context, post.ttl_seconds).await?;
            write(context, Command::Post(Post::from_request(post, now)), no_value).await
        }
        KeysRequest::Delete(delete) => {
            context.check_key(headers, &delete.key, delete.recursive, Access::Write).await?;
            write(context, Command::Delete(Delete::from(delete)), false).await
        }
    }
}

/// The time at which a `ttl` starts.
async fn ttl_start<B: Backend>(context: &Context<B>, ttl: Option<u64>) -> Result<Timestamp, ApiError> {
    match ttl {
        Some(_) => context.backend.settled_time().await.map_err(unavailable),
        None => Ok(context.backend.now()),
    }
}

async fn read<B: Backend>(context: &Context<B>, get: &GetRequest) -> Result<HttpResponse, ApiError> {
    if get.quorum {
        context.backend.barrier().await.map_err(unavailable)?;
    }
    // Taken before the read: the body may be newer than the headers, never older.
    let position = context.backend.position();
    let (found, index) = context.backend.read(|store| (store.get(&get.key, get.recursive), store.index()));
    let body = found?.to_json_line(context.backend.now());
    Ok(success(context, StatusCode::OK, index, position, Bytes::from(body)))
}

async fn write<B: Backend>(
    context: &Context<B>,
    command: Command,
    no_value: bool,
) -> Result<Reply<WatchChunks<B::Watch>>, ApiError> {
    let outcome = context.backend.propose(command).await.map_err(unavailable)?;
    let position = context.backend.position();
    write_response(context, outcome, position, no_value).map(Reply::Response)
}

fn write_response<B: Backend>(
    context: &Context<B>,
    outcome: Outcome,
    position: Position,
    no_value: bool,
) -> Result<HttpResponse, ApiError> {
    let Some(event) = outcome.event() else {
        return Err(match outcome.result {
            Err(CommandError::Keys(error)) => error,
            Err(other) => ApiError::new(ErrorCode::RaftInternal, other.to_string(), 0),
            Ok(_) => ApiError::new(ErrorCode::RaftInternal, "the command was not about keys", 0),
        });
    };
    let status = if event.is_created() { StatusCode::CREATED } else { StatusCode::OK };
    let body = if no_value { event.to_action_json_line() } else { event.to_json_line(context.backend.now()) };
    Ok(success(context, status, outcome.index, position, Bytes::from(body)))
}

fn follow<B: Backend>(
    context: &Context<B>,
    watch: WatchRequest,
) -> Result<Reply<WatchChunks<B::Watch>>, ApiError> {
    context.metrics.watch_requested();
    let WatchRequest { key, recursive, since, stream } = watch;
    let position = context.backend.position();
    let watching = context.backend.watch(&WatchOptions { key, recursive, since, stream })?;
    let index = watching.index;
    if let (None, Some(event)) = (&watching.live, watching.history.first()) {
        let body = context.event_cache.get(event).text();
        return Ok(Reply::Response(success(context, StatusCode::OK, index, position, body)));
    }
    let form = if stream { WatchFormat::Stream } else { WatchFormat::Single };
    let chunks = WatchChunks::new(Arc::clone(&context.event_cache), watching, form);
    let response = success(context, StatusCode::OK, index, position, Bytes::new());
    let (parts, _) = response.into_parts();
    Ok(Reply::Stream(Response::from_parts(parts, ()), chunks))
}

fn success<B: Backend>(
    context: &Context<B>,
    status: StatusCode,
    index: u64,
    position: Position,
    body: Bytes,
) -> HttpResponse {
    let mut response = Response::new(Payload::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(5);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CLUSTER_ID, context.cluster.clone());
    headers.insert(STORE_INDEX, HeaderValue::from(index));
    headers.insert(RAFT_INDEX, HeaderValue::from(position.index));
    headers.insert(RAFT_TERM, HeaderValue::from(position.term));
    response
}
