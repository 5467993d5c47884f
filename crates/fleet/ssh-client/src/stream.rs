//! Byte streams through a connection.

use std::io::{self, PipeReader, PipeWriter};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::control::Control;

/// Closed on drop.
pub struct Stream {
    read: pipe::Receiver,
    /// `None` after shutdown.
    write: Option<pipe::Sender>,
    /// Keeps the stream open in `ssh`.
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

    /// Closes the pipe.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write = None;
        Poll::Ready(Ok(()))
    }
}
