//! What a service gives to the server: one function from request to reply.

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

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub secure: bool,
}

/// A service: shared by all connections.
pub trait Handler: Send + Sync + 'static {
    type Chunks: Chunks;

    fn handle(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Reply<Self::Chunks>> + Send;

    /// Whether a request whose sender closed its writing half is still served to the end. A proxy says no: it
    /// would otherwise hold a watch open that nobody reads.
    fn serves_half_closed(&self) -> bool {
        true
    }

    /// Time without a request after which a connection is closed, rounded up to a few `REST_TIME`s. None: never.
    fn idle_limit(&self) -> Option<Duration> {
        None
    }
}

/// What came of a request.
pub enum Reply<C> {
    /// An answer with its end in sight.
    Answer(Response<Payload>),
    /// An answer that may wait for hours: its head goes out at once, and the connection leaves hyper (with its
    /// buffers of some 16 KiB) until the chunks end.
    Follow(Response<()>, C),
    /// The head of a 101: from here on the connection speaks another protocol, and is whose it asked for.
    Upgrade(Response<()>, TakeOver),
}

/// A connection after its upgrade.
pub trait Upgraded: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Upgraded for S {}

/// Serves an upgraded connection to its end, or until it is dropped.
pub type TakeOver = Box<dyn FnOnce(Box<dyn Upgraded>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The pieces of a followed answer, as they come.
pub trait Chunks: Send + Unpin + 'static {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Chunk>;
}

/// One step of a followed answer.
#[derive(Debug)]
pub enum Chunk {
    More(Piece),
    /// The last piece: sent together with the end, in one write. The connection may serve further requests.
    Last(Piece),
    /// No more, by our decision: the body ends well and the connection is closed.
    Close,
}

/// A text with all that may stand around it on the wire: made once for all connections that get the same.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its size, the text, its end, and the end of the answer.
    framed: Bytes,
    start: usize,
    length: usize,
}

/// The end of a chunked answer.
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
    /// What goes on the wire, and whether that is all.
    pub(super) fn wire(&self, chunked: bool) -> Bytes {
        match self {
            Chunk::More(piece) | Chunk::Last(piece) if !chunked => piece.text(),
            Chunk::More(Piece { framed, .. }) => framed.slice(..framed.len() - END.len()),
            Chunk::Last(piece) => piece.framed.clone(),
            Chunk::Close if chunked => Bytes::from_static(END),
            Chunk::Close => Bytes::new(),
        }
    }
}

/// The body of an answer.
pub enum Payload {
    Empty,
    Full(Bytes),
    /// A member's answer on its way through the proxy.
    Passed(Incoming),
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
            Payload::Passed(incoming) => Pin::new(incoming).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Empty => true,
            Payload::Full(_) => false,
            Payload::Passed(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Empty => SizeHint::with_exact(0),
            Payload::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Passed(incoming) => incoming.size_hint(),
        }
    }
}

/// A service that never follows.
pub enum Never {}

impl Chunks for Never {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Chunk> {
        match *self {}
    }
}

/// What hyper wants as the error of a service; ours has none.
pub(crate) type NoError = Infallible;
