//! Reads request bodies with size and time limits.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout};

use crate::limits;

/// Why a body was rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("http: POST too large")]
    TooLarge,
    #[error("request body took too long")]
    TooSlow,
    #[error("request body ended early")]
    Broken(#[from] hyper::Error),
}

/// Reads the complete body. A body in one piece is not copied.
pub(crate) async fn read(mut body: Incoming) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limits::MAX_BODY_BYTES as u64 {
        return Err(discard(&mut body, 0).await);
    }
    let Some(first) = read_frame(&mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() && first.len() <= limits::MAX_BODY_BYTES {
        return Ok(first);
    }
    let began = Instant::now();
    let mut body_bytes = BytesMut::from(&first[..]);
    drop(first);
    while let Some(more) = read_frame(&mut body).await? {
        body_bytes.extend_from_slice(&more);
        if body_bytes.len() > limits::MAX_BODY_BYTES {
            let size = body_bytes.len();
            drop(body_bytes);
            return Err(discard(&mut body, size).await);
        }
        if began.elapsed() > limits::BODY_TIMEOUT {
            return Err(BodyError::TooSlow);
        }
    }
    Ok(body_bytes.freeze())
}

/// Discards a limited amount of the rest: a client that is still sending would get a reset instead of the response.
async fn discard(body: &mut Incoming, size: usize) -> BodyError {
    let mut size = size as u64;
    let most = 2 * limits::MAX_BODY_BYTES as u64;
    while size + body.size_hint().lower() <= most {
        // A client that has stopped sending is reading.
        match timeout(limits::LINGER_TIMEOUT, read_frame(body)).await {
            Ok(Ok(Some(more))) => size += more.len() as u64,
            Ok(Err(error)) => return error,
            Ok(Ok(None)) | Err(_) => break,
        }
    }
    BodyError::TooLarge
}

async fn read_frame(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        // A body that has already arrived sets no timer.
        match timeout(limits::BODY_READ_TIMEOUT, next).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                if let Ok(data) = frame?.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
