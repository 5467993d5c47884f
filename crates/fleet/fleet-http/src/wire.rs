//! Adapter of [`Stream`] for hyper, with a timeout for clients that do not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::limits;
use crate::stream::Stream;

pub struct Wire {
    stream: Arc<Stream>,
    /// Set while a write is blocked.
    write_timeout: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub fn new(stream: Arc<Stream>) -> Self {
        Self { stream, write_timeout: None }
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_readable(context))?;
            let read = self.stream.try_read(into);
            if !would_block(&read) {
                return Poll::Ready(read.map(drop));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        while let Poll::Ready(ready) = self.stream.poll_writable(context) {
            ready?;
            let written = self.stream.try_write(bytes);
            if !would_block(&written) {
                self.write_timeout = None;
                return Poll::Ready(written);
            }
        }
        let write_timeout = self.write_timeout.get_or_insert_with(|| Box::pin(sleep(limits::WRITE_TIMEOUT)));
        ready!(write_timeout.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown_write())
    }
}
