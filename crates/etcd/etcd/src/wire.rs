//! A connection for one request: to the host itself or through an HTTP proxy, secured where the URL says so.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use etcd_config::Url;
use etcd_config::discovery::ProxyUrl;
use http_body_util::Empty;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("connecting")]
    Connect(#[source] io::Error),
    #[error("connecting to the proxy {at}")]
    Proxy { at: Url, source: io::Error },
    #[error("the proxy {at} answered {status}")]
    NoTunnel { at: Url, status: StatusCode },
    #[error("asking the proxy {at}")]
    Tunnel { at: Url, source: hyper::Error },
    #[error("an https URL, and nobody to trust is configured")]
    NoTls,
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
pub type Wire = Box<dyn Stream>;

/// To `endpoint`. Through a proxy, plain HTTP goes to the proxy itself, which is told the whole URL; anything
/// secured goes through a tunnel, in which the proxy can read nothing.
pub async fn open(
    endpoint: &Url,
    proxy: Option<&ProxyUrl>,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Wire, WireError> {
    let Some(proxy) = proxy else {
        let wire = dial(endpoint).await.map_err(WireError::Connect)?;
        return layered(wire, endpoint, tls).await;
    };
    let at = || proxy.endpoint.clone();
    let wire = dial(&proxy.endpoint).await.map_err(|source| WireError::Proxy { at: at(), source })?;
    let wire = layered(wire, &proxy.endpoint, tls).await.map_err(|error| match error {
        WireError::Connect(source) => WireError::Proxy { at: at(), source },
        other => other,
    })?;
    if !endpoint.scheme.is_tls() {
        return Ok(wire);
    }
    layered(tunnel(wire, proxy, endpoint).await?, endpoint, tls).await
}

/// The value of `Authorization` or `Proxy-Authorization`.
pub fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn host(url: &Url) -> &str {
    url.host.trim_start_matches('[').trim_end_matches(']')
}

async fn dial(at: &Url) -> io::Result<Wire> {
    let stream = TcpStream::connect((host(at), at.port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn layered(wire: Wire, at: &Url, tls: Option<&Arc<ClientConfig>>) -> Result<Wire, WireError> {
    if !at.scheme.is_tls() {
        return Ok(wire);
    }
    let tls = tls.cloned().ok_or(WireError::NoTls)?;
    let name = ServerName::try_from(host(at).to_owned())
        .map_err(|error| WireError::Connect(io::Error::other(error)))?;
    let secured = TlsConnector::from(tls).connect(name, wire).await.map_err(WireError::Connect)?;
    Ok(Box::new(secured))
}

async fn tunnel(wire: Wire, proxy: &ProxyUrl, to: &Url) -> Result<Wire, WireError> {
    let failed = |source| WireError::Tunnel { at: proxy.endpoint.clone(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.map_err(failed)?;
    // It ends with the tunnel.
    tokio::spawn(connection.with_upgrades());
    let place = to.authority();
    let mut request = Request::builder().method(Method::CONNECT).uri(&place).header(HOST, &place);
    if let Some(credentials) = &proxy.credentials {
        request = request.header(PROXY_AUTHORIZATION, basic(credentials));
    }
    let request =
        request.body(Empty::<Bytes>::new()).map_err(|error| WireError::Connect(io::Error::other(error)))?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(WireError::NoTunnel { at: proxy.endpoint.clone(), status: answer.status() });
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(answer).await.map_err(failed)?)))
}
