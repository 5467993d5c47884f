//! One connection's socket: read and written by the server, and looked at by who must know when its client is gone.

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

    /// What is there now; else the error says that it would block.
    pub fn read_now(&self, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.try_read_buf(into),
            Stream::Tcp(stream) => stream.try_read_buf(into),
        }
    }

    /// What fits now; else the error says that it would block.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.try_write(bytes),
            Stream::Tcp(stream) => stream.try_write(bytes),
        }
    }

    /// Nothing is written any more.
    pub fn finish(&self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Write)
    }

    /// Returns when the client has closed its connection, or at least its own half of it. Over TCP the two cannot be
    /// told apart before something is written. Takes nothing that it sent.
    pub async fn ended(&self) {
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
                // The next request waits already.
                Ok(_) => sleep(limits::LOOK_TIME).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn peek(&self) -> io::Result<usize> {
        let look = || self.socket().peek(&mut [MaybeUninit::uninit()]);
        match self {
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, look),
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, look),
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Stream::Unix(stream) => SockRef::from(stream),
            Stream::Tcp(stream) => SockRef::from(stream),
        }
    }
}
