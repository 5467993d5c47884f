//! Response bodies, in full or streamed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

/// A response body.
pub enum Body {
    /// All bytes; `None` for an empty body.
    Full(Option<Bytes>),
    /// Chunks as they arrive.
    Stream {
        /// An error aborts the connection.
        chunks: mpsc::Receiver<io::Result<Bytes>>,
        /// Bytes not yet sent, if the length is known.
        remaining: Option<u64>,
    },
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { chunks, remaining } => chunks.poll_recv(context).map(|chunk| {
                let chunk = chunk?;
                if let (Ok(chunk), Some(remaining)) = (&chunk, remaining) {
                    *remaining = remaining.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                }
                Some(chunk.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream { remaining, .. } => *remaining == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Stream { remaining: Some(remaining), .. } => SizeHint::with_exact(*remaining),
            Self::Stream { remaining: None, .. } => SizeHint::default(),
        }
    }
}
