//! Opens connections: unix sockets, TCP, and TLS above any stream.

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

/// What requests and answers go over.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The error is what follows `Get URL: `.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Connection>, String>> + Send + 'a>>;

/// Reaches a place, directly or by detours. TLS is not its work.
pub trait Dial: Send + Sync {
    fn dial<'a>(&'a self, to: &'a Transport) -> Dialing<'a>;
}

/// From this machine, without detour.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

impl Dial for Direct {
    fn dial<'a>(&'a self, to: &'a Transport) -> Dialing<'a> {
        Box::pin(async move {
            match to {
                Transport::Unix(path) => match UnixStream::connect(path).await {
                    Ok(stream) => Ok(Box::new(stream) as Box<dyn Connection>),
                    Err(error) => Err(format!("dial unix {}: connect: {}", path.display(), words(&error))),
                },
                Transport::Tcp { host, port } | Transport::Tls { host, port } => tcp(host, *port).await,
            }
        })
    }
}

/// All addresses of the name in their order; the first one's error is the one that is told.
async fn tcp(host: &str, port: u16) -> Result<Box<dyn Connection>, String> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| format!("dial tcp: lookup {host}: {}", words(&error)))?;
    let mut first = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| dial_text(address, &error))?;
                return Ok(Box::new(stream));
            }
            Err(error) => first = first.or(Some(dial_text(address, &error))),
        }
    }
    Err(first.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
}

fn dial_text(address: SocketAddr, error: &std::io::Error) -> String {
    format!("dial tcp {address}: connect: {}", words(error))
}

/// TLS with `host` over a stream.
pub async fn secured(
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

/// The system's words for an error as Go writes them: without the number, in lower case.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    // The C library's words for a name that does not exist.
    if text.contains("name or service not known") { "no such host".to_owned() } else { text }
}
