//! The stream under hyper, watched: whether a head began to arrive, whether an answer is stuck.
//!
//! hyper tells neither, and its own timer for heads also ends idle connections, which etcd's clients keep.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A client's stream.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Waits for something to read without a buffer to read it into; where that cannot be known: ready.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Wire for TcpStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Readiness alone may be a false positive, and is one for each accepted socket since tokio 1.54: peeking clears it.
        let mut byte = [0];
        self.poll_peek(context, &mut ReadBuf::new(&mut byte)).map_ok(drop)
    }
}

impl Wire for Box<TlsStream<TcpStream>> {
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // rustls may hold decrypted bytes that the socket knows nothing of.
        Poll::Ready(Ok(()))
    }
}

impl Wire for tokio::io::DuplexStream {
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests.
    Idle = 0,
    /// A head has begun.
    Head = 1,
    /// The service has the request.
    Service = 2,
}

/// What the driver of a connection sees of it. Only one task uses it: the atomics cost no more than plain
/// memory, and spare us unsafe code.
#[derive(Debug, Default)]
pub(super) struct Signs {
    phase: AtomicU8,
    stuck: AtomicBool,
    written: AtomicU64,
}

impl Signs {
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Service,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Whether hyper holds bytes that the client has not taken.
    pub(super) fn stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Bytes written so far: stands still while the client takes nothing.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// A stream with bytes that were read ahead, and signs.
pub(super) struct Tracked<S> {
    pub(super) stream: S,
    pub(super) ahead: Bytes,
    pub(super) signs: Arc<Signs>,
}

impl<S> Tracked<S> {
    fn began(&self) {
        if self.signs.phase() == Phase::Idle {
            self.signs.set_phase(Phase::Head);
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        // Clean again only when hyper flushes, which it does after its last byte was taken.
        self.signs.stuck.store(true, Ordering::Relaxed);
        if let Poll::Ready(Ok(count)) = result {
            let before = self.signs.written.load(Ordering::Relaxed);
            self.signs.written.store(before.wrapping_add(*count as u64), Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tracked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            self.began();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.began();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tracked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.signs.stuck.store(result.is_pending(), Ordering::Relaxed);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
