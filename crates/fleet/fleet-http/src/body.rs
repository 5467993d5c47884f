//! Reads request bodies with limits on size, time, and the memory of all bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fleet_api::{BODY_BYTES, DecodeError, ErrorDocument, decode};
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits;
use crate::response::{api_error, internal_error};

/// Unit of the budget in bytes.
const BLOCK: usize = 1024;

/// Memory budget of all request bodies that are in use.
#[derive(Debug, Clone)]
pub struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(limits::BODY_BUDGET_BYTES / BLOCK)))
    }
}

/// A complete body. Returns its memory to the budget on drop.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    _permits: Option<OwnedSemaphorePermit>,
}

/// A rejected body.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("request body is too large (max {BODY_BYTES} bytes)")]
    TooLarge,
    #[error("request body took too long")]
    TooSlow,
    #[error("request body ended early")]
    Broken,
    #[error("too many large requests at once: try again later")]
    NoRoom,
}

/// Reads the complete body.
pub async fn read(body: &mut Incoming, body_budget: &BodyBudget) -> Result<Body, ErrorDocument> {
    read_limited(body, body_budget).await.map_err(|error| {
        let code = match error {
            BodyError::TooLarge => 413,
            BodyError::TooSlow => 408,
            BodyError::Broken => 400,
            BodyError::NoRoom => 429,
        };
        api_error(code, error.to_string())
    })
}

async fn read_limited(body: &mut Incoming, body_budget: &BodyBudget) -> Result<Body, BodyError> {
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    let (mut buffer, mut permits): (BytesMut, Option<OwnedSemaphorePermit>) = Default::default();
    let end = Instant::now() + limits::BODY_TIMEOUT;
    while let Some(data) = timeout_at(end, chunk(body)).await.map_err(|_| BodyError::TooSlow)?? {
        let length = buffer.len() + data.len();
        if length > BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        grow(&mut permits, length.div_ceil(BLOCK), body_budget)?;
        buffer.extend_from_slice(&data);
    }
    Ok(Body { bytes: buffer.freeze(), _permits: permits })
}

fn grow(
    permits: &mut Option<OwnedSemaphorePermit>,
    blocks: usize,
    body_budget: &BodyBudget,
) -> Result<(), BodyError> {
    let missing = blocks - permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = u32::try_from(missing).map_err(|_| BodyError::NoRoom)?;
    let permit = body_budget.0.clone().try_acquire_many_owned(missing).map_err(|_| BodyError::NoRoom)?;
    match permits {
        Some(permits) => permits.merge(permit),
        None => *permits = Some(permit),
    }
    Ok(())
}

/// Discards the unread rest of a body, up to a limit: a client that is still sending would otherwise see a connection
/// reset instead of the response.
pub async fn drain(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let all = async {
        let mut drained = 0;
        while drained + body.size_hint().lower() <= limits::DRAIN_BYTES {
            match chunk(&mut body).await {
                Ok(Some(data)) => drained += data.len() as u64,
                Ok(None) | Err(_) => break,
            }
        }
    };
    if timeout(limits::DRAIN_TIMEOUT, all).await.is_err() {
        tracing::debug!("the rest of a request's body is not waited for");
    }
}

async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        match timeout(limits::BODY_CHUNK_TIMEOUT, next).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => {
                // Trailers are ignored.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Runs blocking work on a thread.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorDocument> {
    spawn_blocking(work).await.map_err(|error| internal_error("work for a request ended early", &error))
}

impl Body {
    /// Parses the body, on a thread if it is large.
    pub async fn parse_with<T: Send + 'static>(
        self,
        reader: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, ErrorDocument> {
        if self.bytes.len() <= limits::INLINE_PARSE_BYTES {
            return Ok(reader(&self.bytes));
        }
        run_blocking(move || reader(&self.bytes)).await
    }

    pub async fn decode_json<T: DeserializeOwned + Send + 'static>(self) -> Result<T, ErrorDocument> {
        let decoded: Result<T, DecodeError> = self.parse_with(|bytes| decode(bytes)).await?;
        decoded.map_err(|error| api_error(400, format!("unable to decode body: {error}")))
    }
}
