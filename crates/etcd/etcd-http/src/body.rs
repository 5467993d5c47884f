//! Reads a request's body, within limits of size and time.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout};

use crate::limits;

/// A body that was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("http: POST too large")]
    TooLarge,
    #[error("request body took too long")]
    TooSlow,
    #[error("request body ended early")]
    Broken(#[from] hyper::Error),
}

/// The whole body. One that came in one piece is not copied.
pub(crate) async fn read(mut body: Incoming) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limits::BODY_BYTES as u64 {
        return Err(refuse(&mut body, 0).await);
    }
    let Some(first) = piece(&mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() && first.len() <= limits::BODY_BYTES {
        return Ok(first);
    }
    let began = Instant::now();
    let mut whole = BytesMut::from(&first[..]);
    drop(first);
    while let Some(more) = piece(&mut body).await? {
        whole.extend_from_slice(&more);
        if whole.len() > limits::BODY_BYTES {
            let taken = whole.len();
            drop(whole);
            return Err(refuse(&mut body, taken).await);
        }
        if began.elapsed() > limits::BODY_TIME {
            return Err(BodyError::TooSlow);
        }
    }
    Ok(whole.freeze())
}

/// Throws the rest away, as far as it is not too much: a client that is still sending would see a reset
/// connection instead of the answer.
async fn refuse(body: &mut Incoming, taken: usize) -> BodyError {
    let mut taken = taken as u64;
    let most = 2 * limits::BODY_BYTES as u64;
    while taken + body.size_hint().lower() <= most {
        // One that has stopped sending reads: it need not be waited for.
        match timeout(limits::LINGER_TIME, piece(body)).await {
            Ok(Ok(Some(more))) => taken += more.len() as u64,
            Ok(Err(error)) => return error,
            Ok(Ok(None)) | Err(_) => break,
        }
    }
    BodyError::TooLarge
}

async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        // A body that is there already never sets the timer.
        match timeout(limits::BODY_PIECE_TIME, next).await {
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
