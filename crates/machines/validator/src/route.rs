//! Request routing.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{BODY_MAX, BODY_TIMEOUT};
use crate::{page, response};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Headers of every response. Any origin is allowed, as in the original validator: nothing here is confidential.
const HEADERS: [(&str, &str); 6] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, PUT, OPTIONS"),
    ("access-control-allow-headers", "Content-Type"),
    ("content-security-policy", page::POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

type HttpResponse = Response<Full<Bytes>>;
/// A check of user-data; returns JSON.
type Check = fn(&[u8]) -> serde_json::Result<String>;

pub async fn handle(request: Request<Incoming>, permits: Arc<Semaphore>) -> HttpResponse {
    let path = request.uri().path().to_owned();
    let check: Option<Check> = match &*path {
        "/validate" => Some(response::validate_response),
        "/preview" => Some(response::preview_response),
        _ => None,
    };
    let allowed = if check.is_some() { "PUT, POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    let mut response = match (request.method().clone(), check) {
        (Method::OPTIONS, _) => respond(StatusCode::NO_CONTENT, TEXT, ""),
        (Method::PUT | Method::POST, Some(check)) => run_check(request, check, &permits).await,
        (Method::GET | Method::HEAD, None) => static_content(&path),
        _ => respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("{path} supports {allowed} only\n")),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn static_content(path: &str) -> HttpResponse {
    match (path, page::file(path)) {
        ("/schema.json", _) => respond(StatusCode::OK, JSON, cloudinit::json_schema().to_string()),
        ("/health", _) => respond(StatusCode::OK, JSON, "{\"health\":\"true\"}"),
        (_, Some((kind, text))) => respond(StatusCode::OK, kind, text),
        (_, None) => respond(
            StatusCode::NOT_FOUND,
            TEXT,
            "not found; the paths are /, /validate, /preview and /schema.json\n",
        ),
    }
}

/// Reads the whole body, then checks it on a blocking thread.
async fn run_check(request: Request<Incoming>, check: Check, permits: &Semaphore) -> HttpResponse {
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    let text = match timeout(BODY_TIMEOUT, body).await {
        Err(_) => {
            return respond(StatusCode::REQUEST_TIMEOUT, TEXT, "timeout while reading the request body\n");
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("user-data has more than {BODY_MAX} bytes\n");
            return respond(StatusCode::PAYLOAD_TOO_LARGE, TEXT, message);
        }
        Ok(Err(_)) => return respond(StatusCode::BAD_REQUEST, TEXT, "the request body is incomplete\n"),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let Ok(_permit) = permits.acquire().await else {
        return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the server is shutting down\n");
    };
    match tokio::task::spawn_blocking(move || check(&text)).await {
        Ok(Ok(json)) => respond(StatusCode::OK, JSON, json),
        // Neither contains the text: a panic logs its own message.
        Ok(Err(_)) | Err(_) => {
            tracing::error!("the validation failed");
            respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "internal error: the validation failed\n")
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
