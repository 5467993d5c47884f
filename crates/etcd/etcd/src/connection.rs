//! A connection for one request: direct or through an HTTP proxy, with TLS if the URL is https.

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
pub enum ConnectionError {
    #[error("connecting")]
    Connect(#[source] io::Error),
    #[error("connecting to the proxy {at}")]
    Proxy { at: Url, source: io::Error },
    #[error("the proxy {at} answered {status}")]
    NoTunnel { at: Url, status: StatusCode },
    #[error("asking the proxy {at}")]
    Tunnel { at: Url, source: hyper::Error },
    #[error("an https URL without a configured CA")]
    NoTls,
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
pub type Connection = Box<dyn Stream>;

/// Connects to `endpoint`. Through a proxy, plain HTTP goes to the proxy with an absolute URI, and TLS through a
/// CONNECT tunnel.
pub async fn open(
    endpoint: &Url,
    proxy: Option<&ProxyUrl>,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Connection, ConnectionError> {
    let Some(proxy) = proxy else {
        let connection = dial(endpoint).await.map_err(ConnectionError::Connect)?;
        return with_tls(connection, endpoint, tls).await;
    };
    let at = || proxy.endpoint.clone();
    let connection =
        dial(&proxy.endpoint).await.map_err(|source| ConnectionError::Proxy { at: at(), source })?;
    let connection = with_tls(connection, &proxy.endpoint, tls).await.map_err(|error| match error {
        ConnectionError::Connect(source) => ConnectionError::Proxy { at: at(), source },
        other => other,
    })?;
    if !endpoint.scheme.is_tls() {
        return Ok(connection);
    }
    with_tls(tunnel(connection, proxy, endpoint).await?, endpoint, tls).await
}

/// The value of `Authorization` or `Proxy-Authorization`.
pub fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn host(url: &Url) -> &str {
    url.host.trim_start_matches('[').trim_end_matches(']')
}

async fn dial(at: &Url) -> io::Result<Connection> {
    let stream = TcpStream::connect((host(at), at.port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

async fn with_tls(
    connection: Connection,
    at: &Url,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Connection, ConnectionError> {
    if !at.scheme.is_tls() {
        return Ok(connection);
    }
    let tls = tls.cloned().ok_or(ConnectionError::NoTls)?;
    let name = ServerName::try_from(host(at).to_owned())
        .map_err(|error| ConnectionError::Connect(io::Error::other(error)))?;
    let secured =
        TlsConnector::from(tls).connect(name, connection).await.map_err(ConnectionError::Connect)?;
    Ok(Box::new(secured))
}

async fn tunnel(connection: Connection, proxy: &ProxyUrl, to: &Url) -> Result<Connection, ConnectionError> {
    let failed = |source| ConnectionError::Tunnel { at: proxy.endpoint.clone(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(failed)?;
    // Finishes with the tunnel.
    tokio::spawn(connection.with_upgrades());
    let authority = to.authority();
    let mut request = Request::builder().method(Method::CONNECT).uri(&authority).header(HOST, &authority);
    if let Some(credentials) = &proxy.credentials {
        request = request.header(PROXY_AUTHORIZATION, basic(credentials));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| ConnectionError::Connect(io::Error::other(error)))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(ConnectionError::NoTunnel { at: proxy.endpoint.clone(), status: response.status() });
    }
    Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await.map_err(failed)?)))
}
