//! The TLS handshake of a new connection.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reloading::ServerTls;
use crate::limits;

/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// The response of Go's server to plain HTTP on a TLS port.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Returns the TLS stream, or `None` after the client got an alert or response.
pub async fn accept(
    tls: &ServerTls,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<Box<TlsStream<TcpStream>>> {
    match timeout(limits::HANDSHAKE_TIMEOUT, handshake(tls, stream)).await {
        Ok(Ok(stream)) => stream.map(Box::new),
        Ok(Err(error)) => {
            tracing::info!(%address, %error, "TLS handshake refused");
            None
        }
        Err(_) => {
            tracing::debug!(%address, "TLS handshake took too long");
            None
        }
    }
}

async fn handshake(tls: &ServerTls, stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0_u8; 1];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0].is_ascii_uppercase() && first[0] != HANDSHAKE_RECORD {
        let mut stream = stream;
        stream.write_all(PLAIN_HTTP).await?;
        linger(stream).await;
        return Ok(None);
    }
    match TlsAcceptor::from(tls.config()).accept(stream).into_fallible().await {
        Ok(stream) => Ok(Some(stream)),
        Err((error, stream)) => {
            linger(stream).await;
            Err(error)
        }
    }
}

/// Closing a socket with unread bytes sends a reset, which can overtake the alert.
async fn linger(mut stream: TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut taken = 0;
        let mut buffer = [0_u8; 1024];
        while taken < limits::MAX_LINGER_BYTES {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => taken += count,
            }
        }
        io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(limits::LINGER_TIMEOUT, drain).await {
        tracing::debug!(%error, "closing a refused connection");
    }
}
