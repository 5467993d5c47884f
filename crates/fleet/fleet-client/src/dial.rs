//! Opens connections: Unix sockets, TCP, and TLS over any stream.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::endpoint::Transport;

/// A byte stream for HTTP.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The error is the part of the message after `Get URL: `.
pub type DialFuture<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Connection>, String>> + Send + 'a>>;

/// Opens connections, directly or through a tunnel. TLS is added by the caller.
pub trait Dial: Send + Sync {
    /// Opens one connection, without a timeout of its own.
    fn dial<'a>(&'a self, to: &'a Transport) -> DialFuture<'a>;
}

/// Connects directly.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

impl Dial for Direct {
    fn dial<'a>(&'a self, to: &'a Transport) -> DialFuture<'a> {
        Box::pin(async move {
            match to {
                Transport::Unix(path) => match UnixStream::connect(path).await {
                    Ok(stream) => Ok(Box::new(stream) as Box<dyn Connection>),
                    Err(error) => {
                        Err(format!("dial unix {}: connect: {}", path.display(), lower_case(&error)))
                    }
                },
                Transport::Tcp { host, port } | Transport::Tls { host, port } => tcp(host, *port).await,
            }
        })
    }
}

/// Tries all addresses of the host in order. Returns the error of the first.
async fn tcp(host: &str, port: u16) -> Result<Box<dyn Connection>, String> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| format!("dial tcp: lookup {host}: {}", lower_case(&error)))?;
    let mut first = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| dial_error(address, &error))?;
                return Ok(Box::new(stream));
            }
            Err(error) => first = first.or(Some(dial_error(address, &error))),
        }
    }
    Err(first.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
}

fn dial_error(address: SocketAddr, error: &std::io::Error) -> String {
    format!("dial tcp {address}: connect: {}", lower_case(error))
}

/// Starts TLS with `host` over a stream.
pub async fn connect_tls(
    stream: Box<dyn Connection>,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Box<dyn Connection>, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host} is no name that a certificate can have"))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(format!("tls: {error}")),
    }
}

/// The message of a system error as in Go: in lower case, without the number.
fn lower_case(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    // Message of the C library for an unknown host.
    if text.contains("name or service not known") { "no such host".to_owned() } else { text }
}
