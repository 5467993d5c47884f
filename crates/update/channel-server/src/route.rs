//! Routing and authorization.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::timeout;

use crate::api::{self, ApiRequest};
use crate::body::{HttpResponse, error_response, json as json_response, text};
use crate::download::download;
use crate::events::subscribe;
use crate::limits::{API_BYTES, BODY_TIMEOUT};
use crate::page;
use crate::queries::{self, Query};
use crate::server::Server;
use crate::token::Role;
use crate::update::update;

const HEADERS: [(&str, &str); 3] = [
    ("content-security-policy", page::POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

pub async fn route(server: Arc<Server>, request: Request<Incoming>, from: IpAddr) -> HttpResponse {
    let mut response = dispatch(&server, request, from).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn dispatch(server: &Arc<Server>, request: Request<Incoming>, from: IpAddr) -> HttpResponse {
    let path = request.uri().path().to_owned();
    let segments: Option<Vec<String>> = path
        .split('/')
        .skip(1)
        .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned))
        .collect();
    let Some(segments) = segments else {
        return text(StatusCode::BAD_REQUEST, "the path is not valid UTF-8\n");
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = request.method().clone();
    let is_get = [Method::GET, Method::HEAD].contains(&method);
    match &segments[..] {
        ["v1", "update"] | ["v1", "update", ""] => {
            if method != Method::POST {
                return text(StatusCode::METHOD_NOT_ALLOWED, "only POST is supported\n");
            }
            let base = base_url(server, &request);
            match body(request, omaha::limits::REQUEST_BYTES).await {
                Ok(body) => update(server, &body, from, &base).await,
                Err(BodyError::TooLarge) => text(StatusCode::BAD_REQUEST, ""),
                Err(error) => error.response(),
            }
        }
        ["files", rest @ ..] if is_get => {
            let rest: Vec<String> = rest.iter().map(|segment| (*segment).to_owned()).collect();
            download(server, &rest, &method, request.headers()).await
        }
        ["health"] if is_get => json_response(StatusCode::OK, &json!({ "health": "true" })),
        ["config"] if is_get => {
            json_response(StatusCode::OK, &json!({ "title": "Keelson channels", "auth_mode": "token" }))
        }
        ["metrics"] if is_get => match server.metrics.text(&server.state.lock(), &server.key_sets) {
            Ok(bytes) => crate::body::response(StatusCode::OK, "text/plain; version=0.0.4", bytes),
            Err(error) => error_response(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        ["api", rest @ ..] => authorize_and_dispatch(server, request, rest).await,
        _ if is_get => match page::file(&path) {
            Some((content_type, bytes)) => crate::body::response(StatusCode::OK, content_type, bytes),
            None => text(
                StatusCode::NOT_FOUND,
                "not found; the paths are /, /api/apps, /metrics and POST to /v1/update\n",
            ),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Reading requires a token of any role, changing requires the administrator's.
async fn authorize_and_dispatch(
    server: &Arc<Server>,
    request: Request<Incoming>,
    segments: &[&str],
) -> HttpResponse {
    let is_get = request.method() == Method::GET;
    let required = if is_get { Role::Viewer } else { Role::Admin };
    match server.tokens.role(request.headers()) {
        None => {
            let mut response =
                error_response(StatusCode::UNAUTHORIZED, "a token is required: Authorization: Bearer TOKEN");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        Some(role) if role < required => {
            return error_response(StatusCode::FORBIDDEN, "an administrator's token is required");
        }
        Some(_) => {}
    }
    match segments {
        ["events"] if is_get => subscribe(server),
        ["role"] if is_get => {
            let is_admin = server.tokens.role(request.headers()) == Some(Role::Admin);
            json_response(StatusCode::OK, &json!({ "role": if is_admin { "admin" } else { "viewer" } }))
        }
        ["apps", app, "keys"] if is_get => api::to_response(api::key_sets(server, app)),
        ["apps", _, "uploads", ..] if is_get => api::to_response(api::uploaded_files(server, segments).await),
        ["apps", _, "uploads", ..] if request.method() == Method::PUT => {
            api::to_response(api::upload(server, segments, request.into_body()).await)
        }
        _ if is_get => {
            let query = Query::read(request.uri().query().unwrap_or_default());
            let result = queries::query(&server.state.lock(), &server.key_sets, segments, &query);
            api::to_response(result)
        }
        _ => {
            let method = request.method().clone();
            match body(request, API_BYTES).await {
                Ok(body) => {
                    let api_request =
                        ApiRequest { method: &method, segments: segments.to_vec(), body: &body };
                    api::to_response(api::apply_change(server, &api_request).await)
                }
                Err(error) => error.response(),
            }
        }
    }
}

enum BodyError {
    TooLarge,
    Timeout,
    Truncated,
}

impl BodyError {
    fn response(&self) -> HttpResponse {
        match self {
            Self::TooLarge => error_response(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Self::Timeout => {
                error_response(StatusCode::REQUEST_TIMEOUT, "timeout while reading the request body")
            }
            Self::Truncated => error_response(StatusCode::BAD_REQUEST, "the request body is incomplete"),
        }
    }
}

async fn body(request: Request<Incoming>, limit: usize) -> Result<Bytes, BodyError> {
    match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), limit).collect()).await {
        Err(_) => Err(BodyError::Timeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Truncated),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// The URL of this server: as configured, or from the `Host` header.
fn base_url(server: &Server, request: &Request<Incoming>) -> String {
    if let Some(url) = &server.settings.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let host = if !host.is_empty() && host.bytes().all(is_allowed) { host } else { "localhost" };
    format!("http://{host}")
}
