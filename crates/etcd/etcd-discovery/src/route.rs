//! Paths: `/new`, `/TOKEN...`, `/health`, `/metrics`, `/`; anything else is 404.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use etcd_api::{KeysRequest, RequestParts, RequestPath};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::body::{AnswerBody, Events, whole};
use crate::limits::{BODY_TIMEOUT, COST_OF_NEW, DEFAULT_SIZE, MAX_BODY_BYTES, MAX_NAME_BYTES, MAX_SIZE};
use crate::metrics::Metrics;
use crate::page;
use crate::service::{Service, Store, with_tokens};
use crate::tokens::{Answer, REGISTRY, TokenError};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TOKEN_DIGITS: usize = 32;

pub async fn answer(service: Arc<Service>, from: IpAddr, request: Request<Incoming>) -> Response<AnswerBody> {
    Metrics::count(&service.metrics.requests);
    let path = request.uri().path().to_owned();
    let cost = if path == "/new" { COST_OF_NEW } else { 1.0 };
    let allowed = match service.rates.lock() {
        Ok(mut rates) => rates.allow(from, cost, Instant::now()),
        Err(_) => false,
    };
    // Who watches over this service must see it also when somebody floods it.
    if !allowed && path != "/health" && path != "/metrics" {
        Metrics::count(&service.metrics.refused_by_rate);
        let mut refused = text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
        refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return refused;
    }
    match path.as_str() {
        "/" => typed(StatusCode::OK, HTML, page::HTML),
        "/new" => new(&service, &request).await,
        "/health" => health(&service).await,
        "/metrics" => {
            let own = match &service.store {
                Store::Own(tokens) => tokens.lock().ok().map(|tokens| (tokens.count(), tokens.watches())),
                Store::Etcd(_) => None,
            };
            text(StatusCode::OK, service.metrics.text(own))
        }
        _ => match Place::parse(request.method(), &path) {
            Some(place) => token(&service, place, request).await,
            None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        },
    }
}

async fn health(service: &Service) -> Response<AnswerBody> {
    let healthy = match &service.store {
        Store::Own(tokens) => with_tokens(tokens, |tokens| Ok(tokens.healthy())).await.unwrap_or(false),
        Store::Etcd(etcd) => etcd.healthy().await,
    };
    if healthy {
        text(StatusCode::OK, "OK")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "the tokens' store does not work\n")
    }
}

async fn new(service: &Service, request: &Request<Incoming>) -> Response<AnswerBody> {
    let size = match size(request.uri().query()) {
        Ok(size) => size,
        Err(reason) => return text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
    };
    let base = match (&service.settings.public_url, request.headers().get(HOST)) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(host)) if host.to_str().is_ok_and(is_host) => {
            let scheme = if service.settings.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", host.to_str().unwrap_or_default())
        }
        _ => return text(StatusCode::BAD_REQUEST, "the Host header is missing or no host\n"),
    };
    let made = match &service.store {
        Store::Own(tokens) => {
            let made = with_tokens(tokens, move |tokens| tokens.create(size, SystemTime::now().into())).await;
            made.map_err(|error| service::error::chain(&error))
        }
        Store::Etcd(etcd) => etcd.create(size).await.map_err(|error| service::error::chain(&error)),
    };
    match made {
        Ok(token) => {
            Metrics::count(&service.metrics.tokens_made);
            text(StatusCode::OK, format!("{base}/{token}"))
        }
        Err(error) => {
            Metrics::count(&service.metrics.failed);
            tracing::error!(error, "cannot make a token");
            text(StatusCode::BAD_REQUEST, "Unable to generate token\n")
        }
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
}

/// Absent or empty is the default, as Go's form values are.
fn size(query: Option<&str>) -> Result<usize, String> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.into_iter().find(|(name, text)| *name == "size" && !text.is_empty()) else {
        return Ok(DEFAULT_SIZE);
    };
    let number: i64 = text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    match usize::try_from(number) {
        Ok(size @ 1..=MAX_SIZE) => Ok(size),
        _ => Err(format!("size must be 1 to {MAX_SIZE}")),
    }
}

/// A path below a token that somebody may use in this way.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    token: String,
    /// `/TOKEN` and what follows, without a trailing slash.
    path: String,
}

impl Place {
    fn parse(method: &Method, path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = path.strip_prefix('/')?.split('/');
        let token = segments.next()?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if token.len() != TOKEN_DIGITS || !token.bytes().all(digit) {
            return None;
        }
        let rest: Vec<_> = segments.collect();
        // Escapes could stand for a slash, and so for another place.
        let plain = |name: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
            !name.is_empty()
                && name.len() <= MAX_NAME_BYTES
                && name.bytes().all(plain)
                && !name.starts_with('.')
        };
        let allowed = match (method, rest.as_slice()) {
            (&Method::GET | &Method::PUT, []) | (&Method::GET, ["_config", "size"]) => true,
            (&Method::GET, [name]) => plain(name),
            (&Method::PUT | &Method::DELETE, [name]) => plain(name) && *name != "_config",
            _ => false,
        };
        allowed.then(|| Self { token: token.to_owned(), path: path.to_owned() })
    }
}

async fn token(service: &Arc<Service>, place: Place, request: Request<Incoming>) -> Response<AnswerBody> {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
    };
    let query = parts.uri.query();
    match &service.store {
        Store::Own(_) => own(service, place, &parts.method, query, &parts.headers, body).await,
        Store::Etcd(etcd) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let path = format!("{}{query}", place.path);
            match etcd.pass(parts.method, &place.token, &path, &parts.headers, body).await {
                Ok(answer) => answer,
                Err(error) => {
                    Metrics::count(&service.metrics.failed);
                    tracing::error!(error = %service::error::chain(&error), "cannot ask etcd");
                    text(StatusCode::BAD_GATEWAY, "the etcd behind this service does not answer\n")
                }
            }
        }
    }
}

async fn own(
    service: &Arc<Service>,
    place: Place,
    method: &Method,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<AnswerBody> {
    let Store::Own(tokens) = &service.store else { return failed(service, &TokenError::Broken) };
    let full = format!("/v2/keys{REGISTRY}{}", place.path);
    let (Some(method), RequestPath::Clean(path)) =
        (etcd_api::Method::from_name(method.as_str()), RequestPath::parse(&full, query))
    else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let parts = RequestParts { method, path: &path, query, content_type, body: &body };
    let request = match KeysRequest::parse(parts) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    let brief = matches!(&request, KeysRequest::Put(put) if put.no_value_on_success);
    let done =
        with_tokens(tokens, move |tokens| tokens.request(&place.token, request, SystemTime::now().into()));
    match done.await {
        Ok(Answer::Event { event, index }) => {
            let status = if event.is_created() { StatusCode::CREATED } else { StatusCode::OK };
            let line = if brief {
                event.to_action_json_line()
            } else {
                event.to_json_line(SystemTime::now().into())
            };
            indexed(typed(status, JSON, line), index)
        }
        Ok(Answer::Watch { registered, events, index }) => {
            let tokens = tokens.clone();
            let body = Events::body(events, move || {
                if let (Some(watch), Ok(mut tokens)) = (&registered, tokens.lock()) {
                    tokens.cancel(watch);
                }
            });
            let mut answer = Response::new(body);
            answer.headers_mut().insert(CONTENT_TYPE, JSON);
            indexed(answer, index)
        }
        Err(TokenError::Api(error)) => refused(&error),
        Err(error) => failed(service, &error),
    }
}

fn refused(error: &etcd_api::ApiError) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    indexed(typed(status, JSON, error.to_json_line()), error.index)
}

fn failed(service: &Service, error: &TokenError) -> Response<AnswerBody> {
    Metrics::count(&service.metrics.failed);
    let status = match error {
        TokenError::ManyRegistrations => StatusCode::FORBIDDEN,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    tracing::error!(error = %service::error::chain(error), "cannot answer");
    text(status, format!("{error}\n"))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<AnswerBody> {
    typed(status, TEXT, body)
}

fn typed(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<AnswerBody> {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn indexed(mut answer: Response<AnswerBody>, index: u64) -> Response<AnswerBody> {
    answer.headers_mut().insert("X-Etcd-Index", HeaderValue::from(index));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |query, expected: Result<usize, &str>| {
            assert_eq!(size(query), expected.map_err(str::to_owned), "{query:?}");
        };
        check(None, Ok(3));
        check(Some("size="), Ok(3));
        check(Some("x=1&size=5"), Ok(5));
        check(Some("size=abc"), Err("strconv.Atoi: parsing \"abc\": invalid syntax"));
        check(Some("size=0"), Err("size must be 1 to 63"));
        check(Some("size=-1"), Err("size must be 1 to 63"));
        check(Some("size=64"), Err("size must be 1 to 63"));
    }

    #[test]
    fn places() {
        const TOKEN: &str = "0123456789abcdef0123456789abcdef";
        let check = |method: Method, rest: &str, expected: bool| {
            let place = Place::parse(&method, &format!("/{TOKEN}{rest}"));
            assert_eq!(place.is_some(), expected, "{method} {rest}");
        };
        check(Method::GET, "", true);
        check(Method::GET, "/", true);
        check(Method::PUT, "", true);
        check(Method::DELETE, "", false);
        check(Method::POST, "", false);
        check(Method::PUT, "/ce2a822cea30bfca", true);
        check(Method::DELETE, "/ce2a822cea30bfca", true);
        check(Method::GET, "/_config/size", true);
        check(Method::PUT, "/_config/size", false);
        check(Method::PUT, "/_config", false);
        check(Method::GET, "/a/b", false);
        check(Method::GET, "/..", false);
        check(Method::GET, "/a%2Fb", false);
        check(Method::GET, "//", false);
        check(Method::GET, "0", false);
    }
}
