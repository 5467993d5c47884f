//! Which request gets which answer.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{BODY_BYTES, BODY_TIME};
use crate::{answer, page};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// On every answer. Anybody's page may ask, as the classic validator allowed: there is nothing to steal here.
const HEADERS: [(&str, &str); 6] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, PUT, OPTIONS"),
    ("access-control-allow-headers", "Content-Type"),
    ("content-security-policy", page::POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

type Answer = Response<Full<Bytes>>;
/// What is said of a text.
type Judge = fn(&[u8]) -> serde_json::Result<String>;

pub async fn answer(request: Request<Incoming>, places: Arc<Semaphore>) -> Answer {
    let path = request.uri().path().to_owned();
    let judge: Option<Judge> = match &*path {
        "/validate" => Some(answer::classic),
        "/preview" => Some(answer::whole),
        _ => None,
    };
    let allowed = if judge.is_some() { "PUT, POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    let mut answer = match (request.method().clone(), judge) {
        (Method::OPTIONS, _) => plain(StatusCode::NO_CONTENT, TEXT, ""),
        (Method::PUT | Method::POST, Some(judge)) => judged(request, judge, &places).await,
        (Method::GET | Method::HEAD, None) => built_in(&path),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("{path} takes {allowed}\n")),
    };
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn built_in(path: &str) -> Answer {
    match (path, page::file(path)) {
        ("/schema.json", _) => plain(StatusCode::OK, JSON, cloudinit::json_schema().to_string()),
        ("/health", _) => plain(StatusCode::OK, JSON, "{\"health\":\"true\"}"),
        (_, Some((kind, text))) => plain(StatusCode::OK, kind, text),
        (_, None) => {
            plain(StatusCode::NOT_FOUND, TEXT, "not here: try /, /validate, /preview or /schema.json\n")
        }
    }
}

/// The text's body is read whole, then judged where it holds up nobody else.
async fn judged(request: Request<Incoming>, judge: Judge, places: &Semaphore) -> Answer {
    let body = Limited::new(request.into_body(), BODY_BYTES).collect();
    let text = match timeout(BODY_TIME, body).await {
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, TEXT, "the body did not come in time\n"),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("user-data has more than {BODY_BYTES} bytes\n");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, TEXT, message);
        }
        Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, TEXT, "the body was cut off\n"),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let Ok(_place) = places.acquire().await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "this server is about to end\n");
    };
    match tokio::task::spawn_blocking(move || judge(&text)).await {
        Ok(Ok(json)) => plain(StatusCode::OK, JSON, json),
        // Neither can hold the text: a panic's message goes to the log by itself.
        Ok(Err(_)) | Err(_) => {
            tracing::error!("a text could not be judged");
            plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "this text could not be judged\n")
        }
    }
}

fn plain(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
