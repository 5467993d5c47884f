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

use crate::api;
use crate::api_error::ApiError;
use crate::body::{HttpResponse, error_response, json as json_response, text};
use crate::download::download;
use crate::endpoint::{Change, Endpoint};
use crate::events::subscribe;
use crate::images::image;
use crate::images_api;
use crate::keys_api;
use crate::limits::{API_BYTES, BODY_TIMEOUT, METADATA_REQUEST_BYTES};
use crate::metadata::{metadata, target};
use crate::page;
use crate::queries::{self, Query};
use crate::routes;
use crate::server::Server;
use crate::token::{Role, registration_code};
use crate::update::{Client, update};
use crate::vagrant::catalog;

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
    let found = routes::find(&method, &segments);
    if segments.first() == Some(&"api") {
        return authorize_and_dispatch(server, request, found).await;
    }
    match found {
        Some((Endpoint::Update, _)) => {
            let (base, code) = (base_url(server, &request), registration_code(request.headers()));
            match body(request, omaha::limits::REQUEST_BYTES).await {
                Ok(body) => {
                    let is_registered = code.is_some_and(|code| server.tokens.is_registered(code, &body));
                    update(server, &body, Client { from, is_registered }, &base).await
                }
                // As Nebraska (contract 1.1).
                Err(BodyError::TooLarge) => text(StatusCode::BAD_REQUEST, ""),
                Err(error) => error.response(),
            }
        }
        Some((Endpoint::File, parameters)) => download(server, &parameters, &method, request.headers()).await,
        Some((Endpoint::Metadata, parameters)) => metadata(server, &parameters).await,
        Some((Endpoint::Target, parameters)) => target(server, &parameters, &method, request.headers()).await,
        Some((Endpoint::Catalog, parameters)) => catalog(server, &parameters, &base_url(server, &request)),
        Some((Endpoint::Image, parameters)) => {
            let base = base_url(server, &request);
            image(server, &parameters, (&method, request.headers()), &base).await
        }
        Some((Endpoint::Health, _)) => json_response(StatusCode::OK, &json!({ "health": "true" })),
        Some((Endpoint::Config, _)) => {
            json_response(StatusCode::OK, &json!({ "title": "Keelson channels", "auth_mode": "token" }))
        }
        Some((Endpoint::Metrics, _)) => match server.metrics.text(&server.state.lock(), &server.repositories)
        {
            Ok(bytes) => crate::body::response(StatusCode::OK, "text/plain; version=0.0.4", bytes),
            Err(error) => error_response(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        _ => file_of_page(&method, &path, &segments),
    }
}

fn file_of_page(method: &Method, path: &str, segments: &[&str]) -> HttpResponse {
    if let Some(other) = routes::other_method(segments) {
        return text(StatusCode::METHOD_NOT_ALLOWED, format!("only {other} is supported\n"));
    }
    match page::file(path).filter(|_| routes::is_read(method)) {
        Some((content_type, bytes)) => crate::body::response(StatusCode::OK, content_type, bytes),
        None => text(
            StatusCode::NOT_FOUND,
            "not found; the paths are /, /api/apps, /metrics and POST to /v1/update\n",
        ),
    }
}

/// Reading requires a token of any role, changing requires the administrator's.
async fn authorize_and_dispatch(
    server: &Arc<Server>,
    request: Request<Incoming>,
    found: Option<(Endpoint, Vec<&str>)>,
) -> HttpResponse {
    let required = if routes::is_read(request.method()) { Role::Viewer } else { Role::Admin };
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
    let Some((endpoint, parameters)) = found else { return ApiError::NotFound.response() };
    let result = match (endpoint, &parameters[..]) {
        (Endpoint::Events, _) => return subscribe(server),
        (Endpoint::Role, _) => {
            let is_admin = server.tokens.role(request.headers()) == Some(Role::Admin);
            Ok(json!({ "role": if is_admin { "admin" } else { "viewer" } }))
        }
        (Endpoint::Roots, [app]) => keys_api::versions(server, app),
        (Endpoint::Targets, [app]) => return keys_api::targets(server, app),
        (Endpoint::UploadedFiles, [app, arch, version]) => {
            api::uploaded_files(server, [app, arch, version]).await
        }
        (Endpoint::Upload, [app, arch, version, name]) => {
            api::upload(server, [app, arch, version, name], request.into_body()).await
        }
        (Endpoint::UploadedImages, [app, arch, version]) => {
            images_api::uploaded_files(server, [app, arch, version]).await
        }
        (Endpoint::UploadImage, [app, arch, version, name]) => {
            images_api::upload(server, [app, arch, version, name], request.into_body()).await
        }
        (Endpoint::View(view), parameters) => {
            let query = Query::read(request.uri().query().unwrap_or_default());
            queries::query(&server.state.lock(), server, view, parameters, &query)
        }
        (Endpoint::Change(change), parameters) => match body(request, limit(change)).await {
            Ok(body) => api::apply_change(server, change, parameters, &body).await,
            Err(error) => return error.response(),
        },
        // invariant: the other endpoints are not below /api, and the routes have these parameters.
        _ => Err(ApiError::NotFound),
    };
    api::to_response(result)
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

/// Maximum size of a change's body in bytes.
fn limit(change: Change) -> usize {
    match change {
        Change::PublishMetadata => METADATA_REQUEST_BYTES,
        _ => API_BYTES,
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
