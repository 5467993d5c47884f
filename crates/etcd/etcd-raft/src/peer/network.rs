//! How a member connects to another: a byte stream over TCP or, in simulations, over something else.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::limits::MAX_UPGRADE_HEAD_BYTES;

pub trait PeerStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> PeerStream for T {}

pub type BoxedStream = Box<dyn PeerStream>;
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send>>;

/// The `Upgrade` token of peer connections.
pub const UPGRADE: &str = "keelson-peer";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub member_id: u64,
    pub peer_urls: Vec<String>,
}

pub trait Network: Send + Sync + 'static {
    fn dial(&self, target: Target) -> Dialing;
}

/// Creates TLS connectors. It is called for each connection, so certificates may be renewed at run time.
pub type Connector = Arc<dyn Fn() -> io::Result<TlsConnector> + Send + Sync>;

/// Peer connections over TCP, with TLS for `https` URLs.
#[derive(Clone, Default)]
pub struct TcpNetwork {
    tls: Option<Connector>,
}

impl TcpNetwork {
    pub fn new(tls: Option<Connector>) -> Self {
        Self { tls }
    }
}

impl Network for TcpNetwork {
    fn dial(&self, target: Target) -> Dialing {
        let network = self.clone();
        Box::pin(async move {
            let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the member has no URL");
            for url in &target.peer_urls {
                match network.dial_url(url).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

impl TcpNetwork {
    async fn dial_url(&self, url: &str) -> io::Result<BoxedStream> {
        let (tls, host, port) = split_url(url)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("bad URL {url}")))?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return upgrade(stream, host).await;
        }
        let connector = self.tls.as_ref().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no certificates for an https peer URL")
        })?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        upgrade(connector()?.connect(name, stream).await?, host).await
    }
}

/// Splits `http[s]://host:port[/]`; removes the brackets of an IPv6 host.
fn split_url(url: &str) -> Option<(bool, &str, u16)> {
    let (tls, rest) = match url.split_once("://")? {
        ("http", rest) => (false, rest),
        ("https", rest) => (true, rest),
        _ => return None,
    };
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((tls, host, port.parse().ok()?))
}

async fn upgrade<S>(mut stream: S, host: &str) -> io::Result<BoxedStream>
where
    S: PeerStream + 'static,
{
    let request =
        format!("GET /raft HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = read_head(&mut stream).await?;
    if head.starts_with("HTTP/1.1 101 ") {
        return Ok(Box::new(stream));
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("no peer: it answered {line:?}")))
}

/// Reads up to the empty line and not one byte further: the peer protocol follows.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_UPGRADE_HEAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a head without end"));
        }
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Accepts an upgrade, for programs whose peer port serves nothing else.
pub async fn accept_upgrade<S>(mut stream: S) -> io::Result<BoxedStream>
where
    S: PeerStream + 'static,
{
    let head = read_head(&mut stream).await?;
    let wanted = format!("upgrade: {UPGRADE}");
    if !head.lines().any(|line| line.eq_ignore_ascii_case(&wanted)) {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not an upgrade to a peer"));
    }
    let response =
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\r\n");
    stream.write_all(response.as_bytes()).await?;
    stream.flush().await?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        let cases = [
            ("http://127.0.0.1:2380", Some((false, "127.0.0.1", 2380))),
            ("https://a.example:7001/", Some((true, "a.example", 7001))),
            ("http://[::1]:2380", Some((false, "::1", 2380))),
            ("http://127.0.0.1", None),
            ("unix://x:1", None),
            ("127.0.0.1:2380", None),
        ];
        for (url, expect) in cases {
            assert_eq!(split_url(url), expect, "{url}");
        }
    }

    #[tokio::test]
    async fn both_sides_of_the_upgrade_agree() {
        let (near, far) = tokio::io::duplex(1024);
        let (near, far) = tokio::join!(upgrade(near, "h"), accept_upgrade(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
    }
}
