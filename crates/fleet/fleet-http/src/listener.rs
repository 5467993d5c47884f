//! Listening sockets, as systemd hands them over.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;

use tokio::net::{TcpListener, UnixListener};

use crate::stream::Stream;

/// A socket that listens already. Closing it takes nothing away from who has it, too.
#[derive(Debug)]
pub enum Listener {
    Unix(StdUnixListener),
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
    pub(crate) fn open(self) -> io::Result<Open> {
        match self {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Open::Unix)
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Open::Tcp)
            }
        }
    }
}

/// One that the runtime watches.
pub(crate) enum Open {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Open {
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Open::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            Open::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}
