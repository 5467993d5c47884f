//! Opens connections for the pool: TCP, with TLS for https.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Dial;
use crate::error::{Reason, error_text};
use crate::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, KEEPALIVE_TIME};
use crate::tls::{ReloadingTls, TlsError, TlsFiles};

/// A connector for connection pools: http and https, with a timeout.
#[derive(Clone, Debug)]
pub struct Connector {
    pub(crate) tls: Arc<ReloadingTls>,
    /// Replaces TCP; without TLS.
    pub(crate) dial: Option<Dial>,
    pub(crate) timeout: Duration,
}

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    InMemory(DuplexStream),
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Reason;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Reason>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.open(&target).await.map(TokioIo::new) })
    }
}

impl Connector {
    /// Reads the files, and again when they change. Without `https` URLs the system's CA bundle may be missing.
    pub fn new(files: &TlsFiles, https: bool, timeout: Duration) -> Result<Connector, TlsError> {
        Ok(Connector { tls: Arc::new(files.follow(https)?), dial: None, timeout })
    }

    async fn open(&self, target: &Uri) -> Result<Stream, Reason> {
        let https = target.scheme_str() == Some("https");
        let host = target.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = target.port_u16().unwrap_or(if https { 443 } else { 80 });
        let opening = async {
            if let Some(Dial(dial)) = &self.dial {
                let opened = dial(host, port).await;
                return opened
                    .map(Stream::InMemory)
                    .map_err(|error| Reason::Connect(format!("dial {host}:{port}: {}", error_text(&error))));
            }
            let socket = dial(host, port).await?;
            if !https {
                return Ok(Stream::Plain(socket));
            }
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| Reason::Tls(format!("{host} is no name that a certificate can have")))?;
            let stream = TlsConnector::from(self.tls.current()).connect(name, socket).await;
            stream.map(|stream| Stream::Tls(Box::new(stream))).map_err(|error| Reason::Tls(error.to_string()))
        };
        match tokio::time::timeout(self.timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Reason::ConnectTimeout { address: format!("{host}:{port}") }),
        }
    }
}

/// Tries all addresses of the host in order; returns the first one's error.
async fn dial(host: &str, port: u16) -> Result<TcpStream, Reason> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| Reason::Connect(format!("dial tcp: lookup {host}: {}", lookup_text(&error))))?;
    let mut first = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                configure(&socket).map_err(|error| Reason::Connect(dial_text(address, &error)))?;
                return Ok(socket);
            }
            Err(error) => first = first.or(Some(dial_text(address, &error))),
        }
    }
    Err(Reason::Connect(first.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host"))))
}

/// Disables Nagle's algorithm and enables keepalive, so that the kernel detects unreachable peers: a watch has no
/// timeout.
fn configure(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let alive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(socket).set_tcp_keepalive(&alive)
}

fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    // glibc's message for an unknown name.
    if text.contains("Name or service not known") { "no such host".to_owned() } else { text }
}

fn dial_text(address: SocketAddr, error: &io::Error) -> String {
    format!("dial tcp {address}: connect: {}", error_text(error))
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::InMemory(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::InMemory(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            Stream::InMemory(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::InMemory(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
