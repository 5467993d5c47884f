//! Tokens in an upstream etcd, below the same path. Requests and responses are passed through.

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

use crate::body::ResponseBody;
use crate::limits::{UNUSED_TOKEN_TTL, UPSTREAM_TIMEOUT, USED_TOKEN_TTL_SECONDS};
use crate::tokens::{REGISTRY, random_token};

const FORM: &str = "application/x-www-form-urlencoded";
/// Response headers that are passed through.
const PASSED_HEADERS: [&str; 6] =
    ["content-type", "content-length", "x-etcd-cluster-id", "x-etcd-index", "x-raft-index", "x-raft-term"];

/// An etcd cluster that stores the tokens.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// `http://host:port`, or https.
    base: String,
    client: Client<Connector, Full<Bytes>>,
}

/// Why [`Upstream::new`] fails.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum UpstreamConfigError {
    #[error("--etcd must be http://HOST:PORT or https://HOST:PORT, not {0:?}")]
    Url(String),
    #[error("https towards etcd")]
    Tls(#[from] etcd_client::TlsError),
}

#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error("etcd does not respond: {0}")]
    Connection(String),
    #[error("etcd does not respond within {UPSTREAM_TIMEOUT:?}")]
    TimedOut,
    #[error("etcd answered {0}")]
    Refused(StatusCode),
    #[error("the request to etcd cannot be made: {0}")]
    Request(String),
    #[error("no token: {0}")]
    Token(String),
}

impl Upstream {
    /// The certificate of an https URL is verified with `ca`, or else with the system's CA bundle.
    pub fn new(url: &str, ca: Option<PathBuf>) -> Result<Self, UpstreamConfigError> {
        let reject = || UpstreamConfigError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| reject())?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(reject()),
        };
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().filter(|_| bare).ok_or_else(reject)?;
        let scheme = if https { "https" } else { "http" };
        let base = format!("{scheme}://{authority}");
        let files = TlsFiles { ca, ..TlsFiles::default() };
        let connector = Connector::new(&files, https, UPSTREAM_TIMEOUT)?;
        Ok(Self { base, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Creates the token's directory, which expires if unused, and its size.
    pub async fn create(&self, size: usize) -> Result<String, UpstreamError> {
        let token = random_token().map_err(|error| UpstreamError::Token(error.to_string()))?;
        let ttl = UNUSED_TOKEN_TTL.as_secs();
        let steps = [
            (format!("/{token}?dir=true&prevExist=false&ttl={ttl}"), String::new()),
            (format!("/{token}/_config/size?prevExist=false"), format!("value={size}")),
        ];
        for (path, body) in steps {
            let response = self.request(Method::PUT, &path, form(), body.into()).await?;
            if response.status() != StatusCode::CREATED {
                return Err(UpstreamError::Refused(response.status()));
            }
        }
        Ok(token)
    }

    /// Passes a request below a token; `path` starts with `/TOKEN`.
    pub async fn forward(
        &self,
        method: Method,
        token: &str,
        path_and_query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        if method == Method::PUT {
            // A registration makes the token permanent; a refresh is not an event.
            let keep = format!("/{token}?dir=true&prevExist=true&refresh=true&ttl={USED_TOKEN_TTL_SECONDS}");
            let kept = self.request(Method::PUT, &keep, form(), Bytes::new()).await?;
            if !kept.status().is_success() {
                return Ok(forward_response(kept));
            }
        }
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let response = self.request(method, path_and_query, content_type, body).await?;
        Ok(forward_response(response))
    }

    /// Whether `/health` of etcd responds with success.
    pub async fn healthy(&self) -> bool {
        let response = self.request_path(Method::GET, "/health", None, Bytes::new()).await;
        response.is_ok_and(|response| response.status().is_success())
    }

    async fn request(
        &self,
        method: Method,
        below: &str,
        content_type: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let path = format!("/v2/keys{REGISTRY}{below}");
        self.request_path(method, &path, content_type, body).await
    }

    async fn request_path(
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
        let response = self.client.request(request);
        // Watches send headers immediately, too, so the timeout applies to all requests; bodies have none.
        let response =
            tokio::time::timeout(UPSTREAM_TIMEOUT, response).await.map_err(|_| UpstreamError::TimedOut)?;
        response.map_err(|error| UpstreamError::Connection(error.to_string()))
    }
}

fn form() -> Option<HeaderValue> {
    Some(HeaderValue::from_static(FORM))
}

fn forward_response(response: Response<Incoming>) -> Response<ResponseBody> {
    let (parts, body) = response.into_parts();
    let mut out = Response::new(body.map_err(Into::into).boxed_unsync());
    *out.status_mut() = parts.status;
    for name in PASSED_HEADERS.map(HeaderName::from_static) {
        if let Some(value) = parts.headers.get(&name) {
            out.headers_mut().insert(name, value.clone());
        }
    }
    out
}
