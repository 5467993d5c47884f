//! Reads a request's body, within limits of size and time, and of what all of them hold together.

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

use crate::answer::{broken, refuse};
use crate::limits;

/// The room of bodies is counted in these.
const BLOCK: usize = 1024;

/// Where bodies have their place while they are read and worked on.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Room {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(limits::BODIES_BYTES / BLOCK)))
    }
}

/// A whole body, which gives its room back when it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// A body that was not taken.
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

/// All of it, or a refusal.
pub async fn read(body: &mut Incoming, room: &Room) -> Result<Body, ErrorDocument> {
    take(body, room).await.map_err(|error| {
        let code = match error {
            BodyError::TooLarge => 413,
            BodyError::TooSlow => 408,
            BodyError::Broken => 400,
            BodyError::NoRoom => 429,
        };
        refuse(code, error.to_string())
    })
}

async fn take(body: &mut Incoming, room: &Room) -> Result<Body, BodyError> {
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    let (mut whole, mut held): (BytesMut, Option<OwnedSemaphorePermit>) = Default::default();
    let end = Instant::now() + limits::BODY_TIME;
    while let Some(more) = timeout_at(end, piece(body)).await.map_err(|_| BodyError::TooSlow)?? {
        let length = whole.len() + more.len();
        if length > BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        grow(&mut held, length.div_ceil(BLOCK), room)?;
        whole.extend_from_slice(&more);
    }
    Ok(Body { bytes: whole.freeze(), _room: held })
}

fn grow(held: &mut Option<OwnedSemaphorePermit>, blocks: usize, room: &Room) -> Result<(), BodyError> {
    let more = blocks - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = u32::try_from(more).map_err(|_| BodyError::NoRoom)?;
    let permit = room.0.clone().try_acquire_many_owned(more).map_err(|_| BodyError::NoRoom)?;
    match held {
        Some(held) => held.merge(permit),
        None => *held = Some(permit),
    }
    Ok(())
}

/// What nobody wanted of it, as far as it is not too much: a client that is still sending would see a reset connection
/// instead of the answer.
pub async fn throw_away(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let all = async {
        let mut taken = 0;
        while taken + body.size_hint().lower() <= limits::UNWANTED_BYTES {
            match piece(&mut body).await {
                Ok(Some(more)) => taken += more.len() as u64,
                Ok(None) | Err(_) => break,
            }
        }
    };
    if timeout(limits::UNWANTED_TIME, all).await.is_err() {
        tracing::debug!("the rest of a request's body is not waited for");
    }
}

async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        let next = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        match timeout(limits::BODY_PIECE_TIME, next).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// What takes long, on a thread of its own.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ErrorDocument> {
    spawn_blocking(work).await.map_err(|error| broken("work for a request ended early", &error))
}

impl Body {
    /// What `reader` makes of it.
    pub async fn read_by<T: Send + 'static>(
        self,
        reader: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, ErrorDocument> {
        if self.bytes.len() <= limits::QUICK_BYTES {
            return Ok(reader(&self.bytes));
        }
        apart(move || reader(&self.bytes)).await
    }

    pub async fn decoded<T: DeserializeOwned + Send + 'static>(self) -> Result<T, ErrorDocument> {
        let decoded: Result<T, DecodeError> = self.read_by(|bytes| decode(bytes)).await?;
        decoded.map_err(|error| refuse(400, format!("unable to decode body: {error}")))
    }
}
