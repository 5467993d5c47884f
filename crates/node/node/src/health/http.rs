//! A minimal HTTP client for local services.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Returns the raw response, head and body, up to `max_bytes`.
///
/// # Errors
/// The connection fails before the response begins, or `deadline` passes.
pub fn get(address: SocketAddr, path: &str, deadline: Instant, max_bytes: u64) -> io::Result<Vec<u8>> {
    let remaining = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        remaining => Ok(remaining),
    };
    let mut stream = TcpStream::connect_timeout(&address, remaining()?)?;
    stream.set_write_timeout(Some(remaining()?))?;
    // In one write: a server may respond and close before it has read a second one.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    while (bytes.len() as u64) < max_bytes {
        stream.set_read_timeout(Some(remaining()?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            // A TLS server may reset the connection after its alert.
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
