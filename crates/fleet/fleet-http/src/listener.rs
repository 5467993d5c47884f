//! Listening sockets, as passed by systemd.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;

use http_server::Listen;
use tokio::net::{TcpListener, UnixListener};

use crate::stream::Stream;

/// A listening socket. Duplicates stay open when it is closed.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(StdUnixListener),
    /// A TCP socket.
    Tcp(StdTcpListener),
}

impl From<StdUnixListener> for Listener {
    fn from(listener: StdUnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl From<StdTcpListener> for Listener {
    fn from(listener: StdTcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Listener {
    pub(crate) fn open(self) -> io::Result<AsyncListener> {
        match self {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(AsyncListener::Unix)
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(AsyncListener::Tcp)
            }
        }
    }
}

/// A listener that is registered with the runtime.
pub(crate) enum AsyncListener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listen for AsyncListener {
    type Stream = Stream;
    type Peer = ();

    async fn accept(&self) -> io::Result<(Stream, ())> {
        let accepted = match self {
            AsyncListener::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            AsyncListener::Tcp(listener) => accept_tcp(listener).await,
        };
        // The original's message.
        let accepted =
            accepted.inspect_err(|error| tracing::error!("Failed serving HTTP on listener: {error}"));
        accepted.map(|stream| (stream, ()))
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<Stream> {
    let (stream, _) = TcpListener::accept(listener).await?;
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}
