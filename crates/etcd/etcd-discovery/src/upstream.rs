//! Tokens in an etcd behind us, below the same path: requests go through, answers come back as they are.

use std::path::PathBuf;

use bytes::Bytes;
use etcd_client::{Connector, TlsFiles};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use thiserror::Error;

use crate::body::AnswerBody;
use crate::limits::{KEPT_SECONDS, UNUSED, UPSTREAM_TIMEOUT};
use crate::tokens::{REGISTRY, random_token};

const FORM: &str = "application/x-www-form-urlencoded";
/// What of etcd's answer clients look at.
const PASSED: [&str; 6] =
    ["content-type", "content-length", "x-etcd-cluster-id", "x-etcd-index", "x-raft-index", "x-raft-term"];

#[derive(Debug, Clone)]
pub struct Upstream {
    /// `http://host:port`, or https.
    base: String,
    client: Client<Connector, Full<Bytes>>,
}

#[derive(Debug, Error)]
pub enum UpstreamSettingError {
    #[error("--etcd must be http://HOST:PORT or https://HOST:PORT, not {0:?}")]
    Url(String),
    #[error("https towards etcd")]
    Tls(#[from] etcd_client::TlsError),
}

#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error("etcd does not answer: {0}")]
    Connection(String),
    #[error("etcd does not answer within {UPSTREAM_TIMEOUT:?}")]
    TimedOut,
    #[error("etcd answered {0}")]
    Refused(StatusCode),
    #[error("the request to etcd cannot be made: {0}")]
    Request(String),
    #[error("no token: {0}")]
    Token(String),
}

impl Upstream {
    /// An https one must have a certificate that `ca` issued; without that, that one of the machine's authorities did.
    pub fn new(url: &str, ca: Option<PathBuf>) -> Result<Self, UpstreamSettingError> {
        let refuse = || UpstreamSettingError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse()),
        };
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().filter(|_| bare).ok_or_else(refuse)?;
        let scheme = if https { "https" } else { "http" };
        let base = format!("{scheme}://{authority}");
        let files = TlsFiles { ca, ..TlsFiles::default() };
        let connector = Connector::new(&files, https, UPSTREAM_TIMEOUT)?;
        Ok(Self { base, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Makes the token's directory, which goes when nobody uses it, and its size.
    pub async fn create(&self, size: usize) -> Result<String, UpstreamError> {
        let token = random_token().map_err(|error| UpstreamError::Token(error.to_string()))?;
        let ttl = UNUSED.as_secs();
        let steps = [
            (format!("/{token}?dir=true&prevExist=false&ttl={ttl}"), String::new()),
            (format!("/{token}/_config/size?prevExist=false"), format!("value={size}")),
        ];
        for (path, body) in steps {
            let answer = self.ask(Method::PUT, &path, form(), body.into()).await?;
            if answer.status() != StatusCode::CREATED {
                return Err(UpstreamError::Refused(answer.status()));
            }
        }
        Ok(token)
    }

    /// One request below a token; `path` begins with `/TOKEN`.
    pub async fn pass(
        &self,
        method: Method,
        token: &str,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<AnswerBody>, UpstreamError> {
        if method == Method::PUT {
            // Whoever registers keeps the token; etcd tells no watcher of it.
            let keep = format!("/{token}?dir=true&prevExist=true&refresh=true&ttl={KEPT_SECONDS}");
            let kept = self.ask(Method::PUT, &keep, form(), Bytes::new()).await?;
            if !kept.status().is_success() {
                return Ok(passed_on(kept));
            }
        }
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let answer = self.ask(method, path_and_query, content_type, body).await?;
        Ok(passed_on(answer))
    }

    pub async fn healthy(&self) -> bool {
        let answer = self.ask_path(Method::GET, "/health", None, Bytes::new()).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn ask(
        &self,
        method: Method,
        below: &str,
        content_type: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let path = format!("/v2/keys{REGISTRY}{below}");
        self.ask_path(method, &path, content_type, body).await
    }

    async fn ask_path(
        &self,
        method: Method,
        path: &str,
        content_type: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request =
            request.body(Full::new(body)).map_err(|error| UpstreamError::Request(error.to_string()))?;
        let answer = self.client.request(request);
        // Headers of watches come at once too, so the limit holds for all; their bodies last.
        let answer =
            tokio::time::timeout(UPSTREAM_TIMEOUT, answer).await.map_err(|_| UpstreamError::TimedOut)?;
        answer.map_err(|error| UpstreamError::Connection(error.to_string()))
    }
}

fn form() -> Option<HeaderValue> {
    Some(HeaderValue::from_static(FORM))
}

fn passed_on(answer: Response<Incoming>) -> Response<AnswerBody> {
    let (parts, body) = answer.into_parts();
    let mut out = Response::new(body.map_err(Into::into).boxed_unsync());
    *out.status_mut() = parts.status;
    for name in PASSED.map(HeaderName::from_static) {
        if let Some(value) = parts.headers.get(&name) {
            out.headers_mut().insert(name, value.clone());
        }
    }
    out
}
