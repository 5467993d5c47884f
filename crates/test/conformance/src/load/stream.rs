//! A connection of the load, with or without TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects, blocking, also for the handshake; then registers with `poll` and blocks no more.
    pub fn connect(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        poll: &Poll,
        token: Token,
    ) -> io::Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut connection = None;
        if let Some(configuration) = tls {
            let mut started = ClientConnection::new(Arc::clone(configuration), address.ip().into())
                .map_err(io::Error::other)?;
            while started.is_handshaking() {
                started.complete_io(&mut stream)?;
            }
            connection = Some(started);
        }
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(match connection {
            None => Self::Plain(stream),
            Some(connection) => Self::Tls(Box::new(StreamOwned::new(connection, stream))),
        })
    }

    /// Whether a read that returned `length` of `asked` bytes has emptied the socket. A TLS record may follow.
    pub fn is_drained(&self, length: usize, asked: usize) -> bool {
        matches!(self, Self::Plain(_)) && length < asked
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
