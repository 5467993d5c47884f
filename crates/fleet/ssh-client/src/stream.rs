//! Bytes to and from the other side, through a connection.

use std::io::{self, PipeReader, PipeWriter};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::control::Control;

/// Ends when it is dropped.
pub struct Stream {
    read: pipe::Receiver,
    /// `None` after its end was sent.
    write: Option<pipe::Sender>,
    /// Its other end is what `ssh` serves the stream for.
    _control: Control,
}

impl Stream {
    pub(crate) fn new(read: PipeReader, write: PipeWriter, control: Control) -> io::Result<Stream> {
        let read = pipe::Receiver::from_owned_fd(read.into())?;
        let write = Some(pipe::Sender::from_owned_fd(write.into())?);
        Ok(Stream { read, write, _control: control })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        at: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(at, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, at: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.write {
            Some(write) => Pin::new(write).poll_write(at, from),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A pipe ends by being closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write = None;
        Poll::Ready(Ok(()))
    }
}
