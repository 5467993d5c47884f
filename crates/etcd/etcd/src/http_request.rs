//! A single HTTP request with its complete response, for bootstrap: to discovery services and peers.

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

use crate::connection::{self, Connection, ConnectionError};

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 10;
/// Maximum size of a response body in bytes.
const MAX_BODY_BYTES: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("no response within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("the response is not HTTP or too long")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it redirects to {0:?}, where nothing can be asked")]
    Redirect(String),
}

/// Parameters of a request.
#[derive(Clone)]
pub struct RequestParameters<'a> {
    pub method: Method,
    pub endpoint: &'a Url,
    /// Path and query.
    pub path: &'a str,
    /// Body: a form with only the field `value`.
    pub value: Option<&'a str>,
    /// `user:password`.
    pub credentials: Option<&'a str>,
    /// `None` disables the timeout.
    pub timeout: Option<Duration>,
    pub tls: Option<Arc<ClientConfig>>,
    /// The proxy to use.
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

pub async fn send(parameters: &RequestParameters<'_>) -> Result<Reply, RequestError> {
    let whole = send_following_redirects(parameters);
    match parameters.timeout {
        Some(timeout) => {
            tokio::time::timeout(timeout, whole).await.map_err(|_| RequestError::TimedOut(timeout))?
        }
        None => whole.await,
    }
}

async fn send_following_redirects(parameters: &RequestParameters<'_>) -> Result<Reply, RequestError> {
    let (mut endpoint, mut path) = (parameters.endpoint.clone(), parameters.path.to_owned());
    for _ in 0..=MAX_REDIRECTS {
        let reply = send_once(parameters, &endpoint, &path).await?;
        if !matches!(reply.status, 301 | 302 | 307 | 308) {
            return Ok(reply);
        }
        let location = reply.header(LOCATION.as_str()).unwrap_or_default().to_owned();
        let target: Uri = location.parse().map_err(|_| RequestError::Redirect(location.clone()))?;
        if let Some(authority) = target.authority() {
            let scheme = target.scheme_str().unwrap_or("http");
            let port = if scheme == "https" { ":443" } else { ":80" };
            let port = if authority.port().is_some() { "" } else { port };
            let text = format!("{scheme}://{}{port}", authority.as_str());
            endpoint = text.parse().map_err(|_| RequestError::Redirect(location.clone()))?;
        }
        path = target.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    }
    Err(RequestError::Redirect(path))
}

async fn send_once(
    parameters: &RequestParameters<'_>,
    endpoint: &Url,
    path: &str,
) -> Result<Reply, RequestError> {
    let connection = connection::open(endpoint, parameters.proxy, parameters.tls.as_ref()).await?;
    exchange(connection, request(parameters, endpoint, path)?).await
}

fn request(
    parameters: &RequestParameters<'_>,
    endpoint: &Url,
    path: &str,
) -> Result<Request<Full<Bytes>>, RequestError> {
    // A plain request through a proxy has an absolute URI.
    let plain_proxy = parameters.proxy.filter(|_| !endpoint.scheme.is_tls());
    let target = if plain_proxy.is_some() { format!("{endpoint}{path}") } else { path.to_owned() };
    let mut request =
        Request::builder().method(parameters.method.clone()).uri(target).header(HOST, endpoint.authority());
    if let Some(credentials) = plain_proxy.and_then(|proxy| proxy.credentials.as_deref()) {
        request = request.header(PROXY_AUTHORIZATION, connection::basic(credentials));
    }
    // Credentials are not sent to the target of a redirect to another host.
    if let Some(credentials) = parameters.credentials.filter(|_| endpoint == parameters.endpoint) {
        request = request.header(AUTHORIZATION, connection::basic(credentials));
    }
    let body = match parameters.value {
        Some(value) => {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            let encoded: String = value.bytes().map(escape).collect();
            format!("value={encoded}")
        }
        None => String::new(),
    };
    request.body(Full::from(body)).map_err(|error| RequestError::Http(error.into()))
}

/// Percent-encodes a byte of a form value.
fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

async fn exchange(connection: Connection, request: Request<Full<Bytes>>) -> Result<Reply, RequestError> {
    let http = |error: hyper::Error| RequestError::Http(error.into());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(http)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(http)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(RequestError::Http)?;
    driver.abort();
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes().to_vec() })
}
