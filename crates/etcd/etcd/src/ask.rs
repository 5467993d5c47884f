//! One HTTP request, its whole answer: how a member that has no cluster yet asks discovery and peers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_config::Url;
use etcd_config::discovery::ProxyUrl;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, PROXY_AUTHORIZATION};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;

use crate::wire::{self, Wire, WireError};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Longest answer that is read.
const ANSWER_BYTES: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no answer in {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the answer is no HTTP, or too long")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it redirects to {0:?}, where nothing can be asked")]
    Redirect(String),
}

/// What is asked.
#[derive(Clone)]
pub struct Question<'a> {
    pub method: Method,
    pub endpoint: &'a Url,
    /// Path and query.
    pub path: &'a str,
    /// A form with this one `value`.
    pub value: Option<&'a str>,
    /// `user:password`.
    pub credentials: Option<&'a str>,
    /// None for as long as it takes.
    pub limit: Option<Duration>,
    pub tls: Option<Arc<ClientConfig>>,
    /// Where it is to go through.
    pub proxy: Option<&'a ProxyUrl>,
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub async fn ask(question: &Question<'_>) -> Result<Reply, AskError> {
    let whole = followed(question);
    match question.limit {
        Some(limit) => tokio::time::timeout(limit, whole).await.map_err(|_| AskError::TimedOut(limit))?,
        None => whole.await,
    }
}

async fn followed(question: &Question<'_>) -> Result<Reply, AskError> {
    let (mut endpoint, mut path) = (question.endpoint.clone(), question.path.to_owned());
    for _ in 0..=REDIRECTS_MAX {
        let reply = once(question, &endpoint, &path).await?;
        if !matches!(reply.status, 301 | 302 | 307 | 308) {
            return Ok(reply);
        }
        let place = reply.header(LOCATION.as_str()).unwrap_or_default().to_owned();
        let target: Uri = place.parse().map_err(|_| AskError::Redirect(place.clone()))?;
        if let Some(authority) = target.authority() {
            let scheme = target.scheme_str().unwrap_or("http");
            let port = if scheme == "https" { ":443" } else { ":80" };
            let port = if authority.port().is_some() { "" } else { port };
            let text = format!("{scheme}://{}{port}", authority.as_str());
            endpoint = text.parse().map_err(|_| AskError::Redirect(place.clone()))?;
        }
        path = target.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    }
    Err(AskError::Redirect(path))
}

async fn once(question: &Question<'_>, endpoint: &Url, path: &str) -> Result<Reply, AskError> {
    let wire = wire::open(endpoint, question.proxy, question.tls.as_ref()).await?;
    exchange(wire, request(question, endpoint, path)?).await
}

fn request(question: &Question<'_>, endpoint: &Url, path: &str) -> Result<Request<Full<Bytes>>, AskError> {
    // A proxy that passes plain requests on has to be told where to.
    let passing = question.proxy.filter(|_| !endpoint.scheme.is_tls());
    let target = if passing.is_some() { format!("{endpoint}{path}") } else { path.to_owned() };
    let mut request =
        Request::builder().method(question.method.clone()).uri(target).header(HOST, endpoint.authority());
    if let Some(credentials) = passing.and_then(|proxy| proxy.credentials.as_deref()) {
        request = request.header(PROXY_AUTHORIZATION, wire::basic(credentials));
    }
    // Credentials are for the host that they were given for, and for no other that it points to.
    if let Some(credentials) = question.credentials.filter(|_| endpoint == question.endpoint) {
        request = request.header(AUTHORIZATION, wire::basic(credentials));
    }
    let body = match question.value {
        Some(value) => {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            let encoded: String = value.bytes().map(escape).collect();
            format!("value={encoded}")
        }
        None => String::new(),
    };
    request.body(Full::from(body)).map_err(|error| AskError::Http(error.into()))
}

/// A byte of a form's value.
fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

async fn exchange(wire: Wire, request: Request<Full<Bytes>>) -> Result<Reply, AskError> {
    let http = |error: hyper::Error| AskError::Http(error.into());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.map_err(http)?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(http)?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(AskError::Http)?;
    driver.abort();
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes().to_vec() })
}
