//! Which request gets which answer, and from whom it is taken.

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

use crate::api::{self, Call};
use crate::body::{Answer, failed, json as json_answer, text};
use crate::download::download;
use crate::events::follow;
use crate::limits::{API_BYTES, BODY_TIME};
use crate::look::{Query, look};
use crate::page;
use crate::server::Server;
use crate::token::Role;
use crate::update::update;

const HEADERS: [(&str, &str); 3] = [
    ("content-security-policy", page::POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

pub async fn route(server: Arc<Server>, request: Request<Incoming>, from: IpAddr) -> Answer {
    let mut answer = routed(&server, request, from).await;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn routed(server: &Arc<Server>, request: Request<Incoming>, from: IpAddr) -> Answer {
    let path = request.uri().path().to_owned();
    let words: Option<Vec<String>> = path
        .split('/')
        .skip(1)
        .map(|word| percent_decode_str(word).decode_utf8().ok().map(std::borrow::Cow::into_owned))
        .collect();
    let Some(words) = words else { return text(StatusCode::BAD_REQUEST, "the path is no text\n") };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let method = request.method().clone();
    let is_get = [Method::GET, Method::HEAD].contains(&method);
    match &words[..] {
        ["v1", "update"] | ["v1", "update", ""] => {
            if method != Method::POST {
                return text(StatusCode::METHOD_NOT_ALLOWED, "this takes POST\n");
            }
            let base = base(server, &request);
            match body(request, omaha::limits::REQUEST_BYTES).await {
                Ok(body) => update(server, &body, from, &base).await,
                Err(BodyError::Large) => text(StatusCode::BAD_REQUEST, ""),
                Err(error) => error.answer(),
            }
        }
        ["files", rest @ ..] if is_get => {
            let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
            download(server, &rest, &method, request.headers()).await
        }
        ["health"] if is_get => json_answer(StatusCode::OK, &json!({ "health": "true" })),
        ["config"] if is_get => {
            json_answer(StatusCode::OK, &json!({ "title": "Keelson channels", "auth_mode": "token" }))
        }
        ["metrics"] if is_get => match server.metrics.text(&server.fleet.lock(), &server.key_sets) {
            Ok(bytes) => crate::body::answer(StatusCode::OK, "text/plain; version=0.0.4", bytes),
            Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        ["api", rest @ ..] => guarded(server, request, rest).await,
        _ if is_get => match page::file(&path) {
            Some((kind, bytes)) => crate::body::answer(StatusCode::OK, kind, bytes),
            None => {
                text(StatusCode::NOT_FOUND, "not here: try /, /api/apps, /metrics or POST to /v1/update\n")
            }
        },
        _ => text(StatusCode::NOT_FOUND, "not here\n"),
    }
}

/// Reading wants any token, changing that of an administrator.
async fn guarded(server: &Arc<Server>, request: Request<Incoming>, words: &[&str]) -> Answer {
    let is_get = request.method() == Method::GET;
    let wanted = if is_get { Role::Viewer } else { Role::Admin };
    match server.tokens.role(request.headers()) {
        None => {
            let mut answer =
                failed(StatusCode::UNAUTHORIZED, "this wants a token: Authorization: Bearer TOKEN");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return answer;
        }
        Some(role) if role < wanted => {
            return failed(StatusCode::FORBIDDEN, "this wants an administrator's token");
        }
        Some(_) => {}
    }
    match words {
        ["events"] if is_get => follow(server),
        ["role"] if is_get => {
            let is_admin = server.tokens.role(request.headers()) == Some(Role::Admin);
            json_answer(StatusCode::OK, &json!({ "role": if is_admin { "admin" } else { "viewer" } }))
        }
        ["apps", app, "keys"] if is_get => api::answered(api::key_sets(server, app)),
        ["apps", _, "uploads", ..] if is_get => api::answered(api::sent(server, words).await),
        ["apps", _, "uploads", ..] if request.method() == Method::PUT => {
            api::answered(api::upload(server, words, request.into_body()).await)
        }
        _ if is_get => {
            let query = Query::read(request.uri().query().unwrap_or_default());
            let looked = look(&server.fleet.lock(), &server.key_sets, words, &query);
            api::answered(looked)
        }
        _ => {
            let method = request.method().clone();
            match body(request, API_BYTES).await {
                Ok(body) => {
                    let call = Call { method: &method, words: words.to_vec(), body: &body };
                    api::answered(api::change(server, &call).await)
                }
                Err(error) => error.answer(),
            }
        }
    }
}

enum BodyError {
    Large,
    Late,
    CutOff,
}

impl BodyError {
    fn answer(&self) -> Answer {
        match self {
            Self::Large => failed(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::Late => failed(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::CutOff => failed(StatusCode::BAD_REQUEST, "the body was cut off"),
        }
    }
}

async fn body(request: Request<Incoming>, limit: usize) -> Result<Bytes, BodyError> {
    match timeout(BODY_TIME, Limited::new(request.into_body(), limit).collect()).await {
        Err(_) => Err(BodyError::Late),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::Large),
        Ok(Err(_)) => Err(BodyError::CutOff),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// What the machine calls this server, unless its operator said so.
fn base(server: &Server, request: &Request<Incoming>) -> String {
    if let Some(url) = &server.settings.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let host = if !host.is_empty() && host.bytes().all(fit) { host } else { "localhost" };
    format!("http://{host}")
}
