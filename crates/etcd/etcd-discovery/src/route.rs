//! Routes: `/new`, `/TOKEN...`, `/health`, `/metrics`, `/`; anything else is 404.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use etcd_api::{KeysRequest, RequestParts, RequestPath};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::body::{Events, ResponseBody, complete};
use crate::limits::{BODY_TIMEOUT, DEFAULT_SIZE, MAX_BODY_BYTES, MAX_NAME_BYTES, MAX_SIZE, NEW_TOKEN_COST};
use crate::page;
use crate::service::{Service, Store, with_tokens};
use crate::tokens::{REGISTRY, TokenError, TokenResponse};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TOKEN_DIGITS: usize = 32;

pub async fn handle(
    service: Arc<Service>,
    from: IpAddr,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    service.metrics.requests.inc();
    let path = request.uri().path().to_owned();
    let cost = if path == "/new" { NEW_TOKEN_COST } else { 1.0 };
    let allowed = match service.rate_limiter.lock() {
        Ok(mut rate_limiter) => rate_limiter.allow(from, cost, Instant::now()),
        Err(_) => false,
    };
    // Monitoring is exempt from the rate limit.
    if !allowed && path != "/health" && path != "/metrics" {
        service.metrics.rate_limited.inc();
        let mut api_error = text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
        api_error.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return api_error;
    }
    match path.as_str() {
        "/" => with_content_type(StatusCode::OK, HTML, page::HTML),
        "/new" => new(&service, &request).await,
        "/health" => health(&service).await,
        "/metrics" => {
            let own = match &service.store {
                Store::Local(tokens) => tokens.lock().ok().map(|tokens| (tokens.count(), tokens.watches())),
                Store::Etcd(_) => None,
            };
            match service.metrics.text(own) {
                Ok(page) => with_content_type(StatusCode::OK, METRICS, page),
                Err(error) => {
                    tracing::error!(%error, "cannot write the metrics");
                    text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n")
                }
            }
        }
        _ => match TokenPath::parse(request.method(), &path) {
            Some(path_in_token) => token(&service, path_in_token, request).await,
            None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        },
    }
}

async fn health(service: &Service) -> Response<ResponseBody> {
    let healthy = match &service.store {
        Store::Local(tokens) => with_tokens(tokens, |tokens| Ok(tokens.healthy())).await.unwrap_or(false),
        Store::Etcd(etcd) => etcd.healthy().await,
    };
    if healthy {
        text(StatusCode::OK, "OK")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "the tokens' store does not work\n")
    }
}

async fn new(service: &Service, request: &Request<Incoming>) -> Response<ResponseBody> {
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
    let create_directory = match &service.store {
        Store::Local(tokens) => {
            let create_directory =
                with_tokens(tokens, move |tokens| tokens.create(size, SystemTime::now().into())).await;
            create_directory.map_err(|error| service::error::chain(&error))
        }
        Store::Etcd(etcd) => etcd.create(size).await.map_err(|error| service::error::chain(&error)),
    };
    match create_directory {
        Ok(token) => {
            service.metrics.tokens_created.inc();
            text(StatusCode::OK, format!("{base}/{token}"))
        }
        Err(error) => {
            service.metrics.errors.inc();
            tracing::error!(error, "cannot make a token");
            text(StatusCode::BAD_REQUEST, "Unable to generate token\n")
        }
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
}

/// An absent or empty value is the default, as for Go's form values.
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

/// A valid path below a token for a method.
#[derive(Debug, PartialEq, Eq)]
struct TokenPath {
    token: String,
    /// `/TOKEN` and the rest, without a trailing slash.
    path: String,
}

impl TokenPath {
    fn parse(method: &Method, path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = path.strip_prefix('/')?.split('/');
        let token = segments.next()?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if token.len() != TOKEN_DIGITS || !token.bytes().all(digit) {
            return None;
        }
        let rest: Vec<_> = segments.collect();
        // Escapes are rejected: they could encode a slash, and so another path.
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

async fn token(
    service: &Arc<Service>,
    path_in_token: TokenPath,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
    };
    let query = parts.uri.query();
    match &service.store {
        Store::Local(_) => {
            handle_local(service, path_in_token, &parts.method, query, &parts.headers, body).await
        }
        Store::Etcd(etcd) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let path = format!("{}{query}", path_in_token.path);
            match etcd.forward(parts.method, &path_in_token.token, &path, &parts.headers, body).await {
                Ok(handle) => handle,
                Err(error) => {
                    service.metrics.errors.inc();
                    tracing::error!(error = %service::error::chain(&error), "request to etcd failed");
                    text(StatusCode::BAD_GATEWAY, "the etcd behind this service does not respond\n")
                }
            }
        }
    }
}

async fn handle_local(
    service: &Arc<Service>,
    path_in_token: TokenPath,
    method: &Method,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<ResponseBody> {
    let Store::Local(tokens) = &service.store else { return internal_error(service, &TokenError::Broken) };
    let full = format!("/v2/keys{REGISTRY}{}", path_in_token.path);
    let (Some(method), RequestPath::Clean(path)) =
        (etcd_api::Method::from_name(method.as_str()), RequestPath::parse(&full, query))
    else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let parts = RequestParts { method, path: &path, query, content_type, body: &body };
    let request = match KeysRequest::parse(parts) {
        Ok(request) => request,
        Err(error) => return api_error(&error),
    };
    let brief = matches!(&request, KeysRequest::Put(put) if put.no_value_on_success);
    let done = with_tokens(tokens, move |tokens| {
        tokens.request(&path_in_token.token, request, SystemTime::now().into())
    });
    match done.await {
        Ok(TokenResponse::Event { event, index }) => {
            let status = if event.is_created() { StatusCode::CREATED } else { StatusCode::OK };
            let line = if brief {
                event.to_action_json_line()
            } else {
                event.to_json_line(SystemTime::now().into())
            };
            with_index(with_content_type(status, JSON, line), index)
        }
        Ok(TokenResponse::Watch { registered, events, index }) => {
            let tokens = tokens.clone();
            let body = Events::body(events, move || {
                if let (Some(watch), Ok(mut tokens)) = (&registered, tokens.lock()) {
                    tokens.cancel(watch);
                }
            });
            let mut handle = Response::new(body);
            handle.headers_mut().insert(CONTENT_TYPE, JSON);
            with_index(handle, index)
        }
        Err(TokenError::Api(error)) => api_error(&error),
        Err(error) => internal_error(service, &error),
    }
}

fn api_error(error: &etcd_api::ApiError) -> Response<ResponseBody> {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    with_index(with_content_type(status, JSON, error.to_json_line()), error.index)
}

fn internal_error(service: &Service, error: &TokenError) -> Response<ResponseBody> {
    service.metrics.errors.inc();
    let status = match error {
        TokenError::ManyRegistrations => StatusCode::FORBIDDEN,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    tracing::error!(error = %service::error::chain(error), "cannot respond");
    text(status, format!("{error}\n"))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    with_content_type(status, TEXT, body)
}

fn with_content_type(
    status: StatusCode,
    kind: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let mut handle = Response::new(complete(body));
    *handle.status_mut() = status;
    handle.headers_mut().insert(CONTENT_TYPE, kind);
    handle
}

fn with_index(mut handle: Response<ResponseBody>, index: u64) -> Response<ResponseBody> {
    handle.headers_mut().insert("X-Etcd-Index", HeaderValue::from(index));
    handle
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
    fn token_paths() {
        const TOKEN: &str = "0123456789abcdef0123456789abcdef";
        let check = |method: Method, rest: &str, expected: bool| {
            let path_in_token = TokenPath::parse(&method, &format!("/{TOKEN}{rest}"));
            assert_eq!(path_in_token.is_some(), expected, "{method} {rest}");
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
