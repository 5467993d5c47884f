//! An answer that may wait for hours: head at once, then chunks as they come, on the bare stream.
//!
//! It must never read more of a client than it can keep, nor wait for one that left.

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
use super::tracked::Wire;
use crate::limits;

/// One look at a stream that should say nothing takes this much of it.
const LOOK_BYTES: usize = 512;

/// What a request that is followed leaves behind for its connection.
pub(super) struct Followed<C> {
    pub(super) head: Response<()>,
    pub(super) chunks: C,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
}

/// A followed answer under way: all that a waiting connection keeps.
pub(super) struct Following<C> {
    chunks: C,
    ahead: Pipelined,
    chunked: bool,
    keep_alive: bool,
}

impl<C: Chunks> Following<C> {
    /// The answer's head as text, and the rest. `ahead` was read behind the request.
    pub(super) fn new(ahead: &Bytes, followed: Followed<C>) -> (Vec<u8>, Box<Following<C>>) {
        let Followed { head, chunks, version, keep_alive } = followed;
        let chunked = version == Version::HTTP_11;
        let text = head_text(&head, chunked, keep_alive);
        let following = Following { chunks, ahead: Pipelined::new(ahead), chunked, keep_alive };
        (text, Box::new(following))
    }
}

/// Sends the answer; gives what was pipelined behind the request when the connection may go on.
pub(super) async fn follow<S: Wire, C: Chunks>(
    stream: &mut S,
    head: Vec<u8>,
    mut following: Box<Following<C>>,
    stop: &Stop,
) -> Option<Bytes> {
    send(stream, head.into()).await.ok()?;
    let mut drain = pin!(stop.reached(Level::Drain));
    loop {
        let (wire, more, serves_on) = {
            let chunk = next(stream, &mut following, drain.as_mut()).await?;
            let serves_on = following.keep_alive && matches!(chunk, Chunk::Last(_));
            (chunk.wire(following.chunked), matches!(chunk, Chunk::More(_)), serves_on)
        };
        send(stream, wire).await.ok()?;
        if serves_on {
            return Some(following.ahead.into_bytes());
        }
        if !more {
            // The answer is whole; a client that is gone already has nothing to lose.
            if let Err(error) = stream.shutdown().await {
                tracing::debug!(%error, "closing a followed answer");
            }
            return None;
        }
    }
}

/// The next chunk; none when the client left or the server ends at once.
async fn next<S: Wire, C: Chunks>(
    stream: &mut S,
    following: &mut Following<C>,
    mut drain: Pin<&mut impl Future<Output = ()>>,
) -> Option<Chunk> {
    let Following { chunks, ahead, .. } = following;
    poll_fn(|context| {
        if drain.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Chunk::Close));
        }
        if let Poll::Ready(chunk) = chunks.poll_chunk(context) {
            return Poll::Ready(Some(chunk));
        }
        while ahead.has_room() {
            let mut look = [0_u8; LOOK_BYTES];
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

/// What the client sent behind the request that is being followed.
struct Pipelined(Vec<u8>);

impl Pipelined {
    fn new(first: &Bytes) -> Pipelined {
        // A copy, because the original would keep hyper's whole read buffer alive.
        Pipelined(first.to_vec())
    }

    fn has_room(&self) -> bool {
        self.0.len() + LOOK_BYTES <= limits::PIPELINED_BYTES
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn into_bytes(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// Most of what is sent is taken at once: only the rest gets a deadline, and the box that this needs.
async fn send<S: Wire>(stream: &mut S, bytes: Bytes) -> io::Result<()> {
    let taken = poll_fn(|context| {
        let mut at_once = 0;
        if !bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, &bytes) {
                Poll::Ready(Ok(count)) => at_once = count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        let flushed = at_once == bytes.len() && Pin::new(&mut *stream).poll_flush(context).is_ready();
        Poll::Ready(Ok((!flushed).then_some(at_once)))
    });
    match taken.await? {
        None => Ok(()),
        Some(at_once) => Box::pin(write(stream, bytes.slice(at_once..))).await,
    }
}

async fn write<S: Wire>(stream: &mut S, bytes: Bytes) -> io::Result<()> {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let count = timeout(limits::WRITE_TIME, stream.write(rest)).await??;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[count..];
    }
    timeout(limits::WRITE_TIME, stream.flush()).await?
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
