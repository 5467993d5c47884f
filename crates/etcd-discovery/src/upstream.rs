//! Tokens in an etcd behind us, below the same path: requests go through, answers come back as they are.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
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
    /// `http://host:port`.
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug, Error)]
#[error("--etcd must be http://HOST:PORT, not {0:?}")]
pub struct UpstreamUrlError(String);

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
    pub fn new(url: &str) -> Result<Self, UpstreamUrlError> {
        let refuse = || UpstreamUrlError(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        let authority = uri.authority().filter(|_| plain && uri.query().is_none()).ok_or_else(refuse)?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(UPSTREAM_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { base: format!("http://{authority}"), client })
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
