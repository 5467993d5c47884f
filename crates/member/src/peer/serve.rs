//! The called side of a peer connection. It must never handle a message before the greeting was
//! accepted, and never let one slow request hold up the others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::frame::{Frame, put_frame, take_frame};
use super::hello::{Hello, HelloError, Refused, Welcome, answer_hello, hear_hello};
use super::message;
use super::network::BoxedStream;
use crate::limits::{DIAL_TIME, PEER_IDLE, PEER_QUEUE};

pub type Handling = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// What a member does with the requests of one connection.
pub trait Conversation: Send {
    /// Whether the connection is to be closed. Asked when something came.
    fn is_over(&mut self) -> bool;

    /// Requests begin in the order in which they came.
    fn handle(&mut self, kind: u8, contents: Bytes) -> Handling;
}

/// Who decides about callers.
pub trait Host: Send + Sync + 'static {
    fn cluster_id(&self) -> u64;
    fn admit(&self, hello: &Hello) -> Result<Welcome, Refused>;
    fn converse(&self, hello: &Hello) -> Box<dyn Conversation>;
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("greeting a peer")]
    Hello(#[from] HelloError),
    #[error("a peer's connection is damaged")]
    Frame(#[from] super::frame::FrameError),
    #[error("a peer's connection broke")]
    Io(#[from] std::io::Error),
}

/// Serves one connection until it ends.
pub async fn serve_peer(mut stream: BoxedStream, host: Arc<dyn Host>) -> Result<(), ServeError> {
    let hello = match tokio::time::timeout(DIAL_TIME, hear_hello(&mut *stream)).await {
        Ok(hello) => hello?,
        Err(_) => return Err(HelloError::Io(std::io::ErrorKind::TimedOut.into()).into()),
    };
    let admitted = host.admit(&hello);
    answer_hello(&mut *stream, host.cluster_id(), admitted).await?;
    admitted.map_err(HelloError::from)?;
    let mut conversation = host.converse(&hello);
    let mut handlings = FuturesUnordered::new();
    let mut received = BytesMut::with_capacity(16 << 10);
    let mut out = BytesMut::new();
    let mut heard = Instant::now();
    loop {
        let room = handlings.len() < PEER_QUEUE;
        tokio::select! {
            biased;
            Some((number, kind, result)) = handlings.next(), if !handlings.is_empty() => {
                put_answer(&mut out, number, kind, result);
                // What else is ready goes with it: one system call for many answers.
                while let Some(Some((number, kind, result))) =
                    futures_util::FutureExt::now_or_never(handlings.next())
                {
                    put_answer(&mut out, number, kind, result);
                }
                stream.write_all(&out).await?;
                stream.flush().await?;
                out.clear();
            }
            count = stream.read_buf(&mut received), if room => {
                heard = Instant::now();
                if count? == 0 || conversation.is_over() {
                    return Ok(());
                }
                while let Some(Frame { kind, number, contents }) = take_frame(&mut received)? {
                    let handling = conversation.handle(kind, contents);
                    handlings.push(async move { (number, kind, handling.await) });
                }
            }
            () = tokio::time::sleep_until(heard + PEER_IDLE), if handlings.is_empty() => {
                return Err(ServeError::Io(std::io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

fn put_answer(out: &mut BytesMut, number: u64, kind: u8, result: Result<Bytes, String>) {
    match result {
        Ok(contents) => put_frame(out, kind | message::ANSWER, number, &contents),
        Err(reason) => put_frame(out, message::FAILED, number, reason.as_bytes()),
    }
}
