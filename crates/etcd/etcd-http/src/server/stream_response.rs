//! Streamed responses, which may last for hours: sends the head immediately, then chunks, directly on the stream.
//!
//! Reads no more from a client than the limit, and notices when it disconnects.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::{Response, Version};
use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::handler::{Chunk, Chunks};
use super::stop::{Level, Stop};
use super::tracked_stream::ClientStream;
use crate::limits;

/// Buffer size for checking a stream from which nothing is expected.
const PEEK_BYTES: usize = 512;

/// A request for a streamed response.
pub(super) struct StreamRequest<C> {
    pub(super) head: Response<()>,
    pub(super) chunks: C,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
}

/// The state of a streamed response, which a waiting connection keeps.
pub(super) struct ResponseStream<C> {
    chunks: C,
    ahead: Pipelined,
    chunked: bool,
    keep_alive: bool,
}

impl<C: Chunks> ResponseStream<C> {
    /// Returns the response head and the streaming state. `ahead` was read after the request.
    pub(super) fn new(ahead: &Bytes, stream_request: StreamRequest<C>) -> (Vec<u8>, Box<ResponseStream<C>>) {
        let StreamRequest { head, chunks, version, keep_alive } = stream_request;
        let chunked = version == Version::HTTP_11;
        let text = head_text(&head, chunked, keep_alive);
        let response_stream = ResponseStream { chunks, ahead: Pipelined::new(ahead), chunked, keep_alive };
        (text, Box::new(response_stream))
    }
}

/// Sends the response. Returns pipelined bytes if the connection is kept alive.
pub(super) async fn stream_response<S: ClientStream, C: Chunks>(
    stream: &mut S,
    head: Vec<u8>,
    mut response_stream: Box<ResponseStream<C>>,
    stop: &Stop,
) -> Option<Bytes> {
    send(stream, head.into()).await.ok()?;
    let mut drain = pin!(stop.reached(Level::Drain));
    loop {
        let (wire, more, serves_on) = {
            let chunk = next(stream, &mut response_stream, drain.as_mut()).await?;
            let serves_on = response_stream.keep_alive && matches!(chunk, Chunk::Last(_));
            (chunk.wire(response_stream.chunked), matches!(chunk, Chunk::More(_)), serves_on)
        };
        send(stream, wire).await.ok()?;
        if serves_on {
            return Some(response_stream.ahead.into_bytes());
        }
        if !more {
            // The response is complete; a disconnected client does not matter.
            if let Err(error) = stream.shutdown().await {
                tracing::debug!(%error, "closing a followed answer");
            }
            return None;
        }
    }
}

/// The next chunk; `None` if the client disconnected or the server stops immediately.
async fn next<S: ClientStream, C: Chunks>(
    stream: &mut S,
    response_stream: &mut ResponseStream<C>,
    mut drain: Pin<&mut impl Future<Output = ()>>,
) -> Option<Chunk> {
    let ResponseStream { chunks, ahead, .. } = response_stream;
    poll_fn(|context| {
        if drain.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Chunk::Close));
        }
        if let Poll::Ready(chunk) = chunks.poll_chunk(context) {
            return Poll::Ready(Some(chunk));
        }
        while ahead.has_capacity() {
            let mut look = [0_u8; PEEK_BYTES];
            let mut buffer = ReadBuf::new(&mut look);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => ahead.keep(buffer.filled()),
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    })
    .await
}

/// Bytes that the client sent after the streamed request.
struct Pipelined(Vec<u8>);

impl Pipelined {
    fn new(first: &Bytes) -> Pipelined {
        // Copied, since the original keeps hyper's whole read buffer alive.
        Pipelined(first.to_vec())
    }

    fn has_capacity(&self) -> bool {
        self.0.len() + PEEK_BYTES <= limits::MAX_PIPELINED_BYTES
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn into_bytes(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// Most data is written immediately: only the rest needs a deadline and a box.
async fn send<S: ClientStream>(stream: &mut S, bytes: Bytes) -> io::Result<()> {
    let detached = poll_fn(|context| {
        let mut written_bytes = 0;
        if !bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, &bytes) {
                Poll::Ready(Ok(count)) => written_bytes = count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        let flushed = written_bytes == bytes.len() && Pin::new(&mut *stream).poll_flush(context).is_ready();
        Poll::Ready(Ok((!flushed).then_some(written_bytes)))
    });
    match detached.await? {
        None => Ok(()),
        Some(written_bytes) => Box::pin(write(stream, bytes.slice(written_bytes..))).await,
    }
}

async fn write<S: ClientStream>(stream: &mut S, bytes: Bytes) -> io::Result<()> {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let count = timeout(limits::WRITE_TIMEOUT, stream.write(rest)).await??;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[count..];
    }
    timeout(limits::WRITE_TIMEOUT, stream.flush()).await?
}

fn head_text(head: &Response<()>, chunked: bool, keep_alive: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(320);
    let version: &[u8] = if chunked { b"HTTP/1.1 " } else { b"HTTP/1.0 " };
    text.extend_from_slice(version);
    text.extend_from_slice(head.status().as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(head.status().canonical_reason().unwrap_or("Unknown").as_bytes());
    text.extend_from_slice(b"\r\n");
    for (name, value) in head.headers() {
        let mut upper = true;
        for byte in name.as_str().bytes() {
            text.push(if upper { byte.to_ascii_uppercase() } else { byte });
            upper = byte == b'-';
        }
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"Date: ");
    text.extend_from_slice(httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    text.extend_from_slice(b"\r\n");
    if !keep_alive {
        text.extend_from_slice(b"Connection: close\r\n");
    }
    let end: &[u8] = if chunked { b"Transfer-Encoding: chunked\r\n\r\n" } else { b"\r\n" };
    text.extend_from_slice(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Piece;

    #[test]
    fn chunks_are_framed() {
        let check = |chunk: Chunk, chunked: bool, expect: &str| {
            assert_eq!(String::from_utf8(chunk.wire(chunked).to_vec()).unwrap(), expect);
        };
        check(Chunk::More(Piece::new(b"0123456789abcdef")), true, "10\r\n0123456789abcdef\r\n");
        check(Chunk::Last(Piece::new(b"x")), true, "1\r\nx\r\n0\r\n\r\n");
        check(Chunk::Last(Piece::new(b"")), true, "0\r\n\r\n");
        check(Chunk::More(Piece::new(b"")), true, "");
        check(Chunk::Close, true, "0\r\n\r\n");
        check(Chunk::Last(Piece::new(b"x")), false, "x");
        check(Chunk::More(Piece::new(b"x")), false, "x");
        check(Chunk::Close, false, "");
    }
}
