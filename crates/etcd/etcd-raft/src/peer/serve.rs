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
use crate::limits::{DIAL_TIME, PEER_BYTES, PEER_IDLE, PEER_QUEUE};

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
    // Bytes of the requests that are being handled.
    let mut held = 0;
    loop {
        let room = handlings.len() < PEER_QUEUE && held < PEER_BYTES;
        tokio::select! {
            biased;
            Some(handled) = handlings.next(), if !handlings.is_empty() => {
                let mut next = Some(handled);
                // What else is ready goes with it: one system call for many answers.
                while let Some((size, number, kind, result)) = next {
                    held -= size;
                    put_answer(&mut out, number, kind, result);
                    next = futures_util::FutureExt::now_or_never(handlings.next()).flatten();
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
                    let size = contents.len();
                    held += size;
                    let handling = conversation.handle(kind, contents);
                    handlings.push(async move { (size, number, kind, handling.await) });
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::limits::FRAME_BYTES;
    use crate::peer::hello::{VERSION_OF_DISKS, VERSIONS, say_hello};

    /// Handles nothing, and counts what came.
    #[derive(Default)]
    struct Hanging(Arc<AtomicUsize>);

    impl Host for Hanging {
        fn cluster_id(&self) -> u64 {
            1
        }
        fn admit(&self, _: &Hello) -> Result<Welcome, Refused> {
            Ok(Welcome { version: VERSION_OF_DISKS, disk: 4 })
        }
        fn converse(&self, _: &Hello) -> Box<dyn Conversation> {
            Box::new(Self(self.0.clone()))
        }
    }

    impl Conversation for Hanging {
        fn is_over(&mut self) -> bool {
            false
        }
        fn handle(&mut self, _: u8, contents: Bytes) -> Handling {
            self.0.fetch_add(contents.len(), Ordering::SeqCst);
            Box::pin(async move {
                let _held = contents;
                std::future::pending().await
            })
        }
    }

    /// Where the disk hangs, say: the sender waits, and not this member's memory.
    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_requests_hang_holds_so_much_and_no_more() {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let held = Arc::new(AtomicUsize::new(0));
        let serving = tokio::spawn(serve_peer(Box::new(far), Arc::new(Hanging(held.clone()))));
        say_hello(&mut near, &Hello { versions: VERSIONS, cluster_id: 1, from: 2, to: 1, disk: 3 })
            .await
            .unwrap();
        let contents = vec![0; FRAME_BYTES / 2];
        let mut frame = BytesMut::new();
        put_frame(&mut frame, 1, 1, &contents);
        let sending = async {
            loop {
                near.write_all(&frame).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(PEER_IDLE / 2, sending).await.is_err());
        let held = held.load(Ordering::SeqCst);
        assert!((PEER_BYTES..PEER_BYTES + FRAME_BYTES).contains(&held), "{held}");
        assert!(!serving.is_finished());
    }
}
