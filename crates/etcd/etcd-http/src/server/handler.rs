//! The interface between server and service: one function from request to reply.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

/// The client of a request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub secure: bool,
}

/// A service, shared by all connections.
pub trait Handler: Send + Sync + 'static {
    type Chunks: Chunks;

    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Reply<Self::Chunks>> + Send;

    /// Whether a request is served after the client closed its writing half. False for proxies, which would otherwise
    /// hold a watch that nothing reads.
    fn serves_half_closed(&self) -> bool {
        true
    }

    /// Idle time after which a connection is closed, rounded up to a few `IDLE_RELEASE_TIME`s. `None` disables it.
    fn idle_limit(&self) -> Option<Duration> {
        None
    }
}

/// The reply to a request.
pub enum Reply<C> {
    /// A complete response.
    Response(Response<Payload>),
    /// A streamed response that may last for hours: its head is sent immediately, and the connection is taken over
    /// from hyper, with its buffers of some 16 KiB, until the chunks end.
    Stream(Response<()>, C),
    /// The head of a 101 response; the connection then uses another protocol.
    Upgrade(Response<()>, UpgradeFn),
}

/// An upgraded connection.
pub trait Upgraded: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Upgraded for S {}

/// Serves an upgraded connection until it ends.
pub type UpgradeFn = Box<dyn FnOnce(Box<dyn Upgraded>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The chunks of a streamed response.
pub trait Chunks: Send + Unpin + 'static {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Chunk>;
}

/// A chunk of a streamed response.
#[derive(Debug)]
pub enum Chunk {
    More(Piece),
    /// The last chunk, sent with the terminator in one write. The connection may be kept alive.
    Last(Piece),
    /// The end of the body; the connection is closed.
    Close,
}

/// A chunk with its framing, shared by all connections that send it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Chunk size, text, CRLF, and the terminator.
    framed: Bytes,
    start: usize,
    length: usize,
}

/// The terminator of a chunked response.
const END: &[u8] = b"0\r\n\r\n";

impl Piece {
    pub fn new(text: &[u8]) -> Piece {
        let mut framed = Vec::with_capacity(text.len() + 32);
        let mut start = 0;
        if !text.is_empty() {
            framed.extend_from_slice(format!("{:x}\r\n", text.len()).as_bytes());
            start = framed.len();
            framed.extend_from_slice(text);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(END);
        Piece { framed: framed.into(), start, length: text.len() }
    }

    pub fn text(&self) -> Bytes {
        self.framed.slice(self.start..self.start + self.length)
    }
}

impl Chunk {
    /// The bytes to send.
    pub(super) fn wire(&self, chunked: bool) -> Bytes {
        match self {
            Chunk::More(chunk) | Chunk::Last(chunk) if !chunked => chunk.text(),
            Chunk::More(Piece { framed, .. }) => framed.slice(..framed.len() - END.len()),
            Chunk::Last(chunk) => chunk.framed.clone(),
            Chunk::Close if chunked => Bytes::from_static(END),
            Chunk::Close => Bytes::new(),
        }
    }
}

/// A response body.
pub enum Payload {
    Empty,
    Full(Bytes),
    /// A forwarded response of a member.
    Forwarded(Incoming),
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        if bytes.is_empty() { Payload::Empty } else { Payload::Full(bytes) }
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Payload {
        Payload::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload::from(Bytes::from(text))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Payload::Empty => Poll::Ready(None),
            Payload::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Payload::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Payload::Forwarded(incoming) => Pin::new(incoming).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Empty => true,
            Payload::Full(_) => false,
            Payload::Forwarded(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Empty => SizeHint::with_exact(0),
            Payload::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Forwarded(incoming) => incoming.size_hint(),
        }
    }
}

/// The chunks of a service that never streams.
pub enum Never {}

impl Chunks for Never {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Chunk> {
        match *self {}
    }
}

/// The error type of hyper's service, which cannot fail.
pub(crate) type NoError = Infallible;
