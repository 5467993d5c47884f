//! The socket of a connection, shared by the server and the detection of disconnects.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use crate::limits;

#[derive(Debug)]
pub enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Unix(stream) => stream.poll_read_ready(context),
            Stream::Tcp(stream) => stream.poll_read_ready(context),
        }
    }

    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Unix(stream) => stream.poll_write_ready(context),
            Stream::Tcp(stream) => stream.poll_write_ready(context),
        }
    }

    /// Fails with `WouldBlock` if no data is available.
    pub fn try_read(&self, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.try_read_buf(into),
            Stream::Tcp(stream) => stream.try_read_buf(into),
        }
    }

    /// Fails with `WouldBlock` if the buffer is full.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.try_write(bytes),
            Stream::Tcp(stream) => stream.try_write(bytes),
        }
    }

    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Write)
    }

    /// Waits until the client has closed the connection or its sending side; TCP cannot distinguish these before a
    /// write. Consumes no data.
    pub async fn closed(&self) {
        loop {
            let ready = match self {
                Stream::Unix(stream) => stream.ready(Interest::READABLE).await,
                Stream::Tcp(stream) => stream.ready(Interest::READABLE).await,
            };
            if ready.map_or(true, |ready| ready.is_read_closed()) {
                return;
            }
            match self.peek() {
                Ok(0) => return,
                // The next request is pending.
                Ok(_) => sleep(limits::PEEK_INTERVAL).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn peek(&self) -> io::Result<usize> {
        let peek = || self.socket().peek(&mut [MaybeUninit::uninit()]);
        match self {
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, peek),
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, peek),
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Stream::Unix(stream) => SockRef::from(stream),
            Stream::Tcp(stream) => SockRef::from(stream),
        }
    }
}
