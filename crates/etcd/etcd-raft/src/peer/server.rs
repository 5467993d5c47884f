//! The accepting side of a peer connection. No message is handled before the handshake, and a slow request does not
//! block the others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::frame::{Frame, put_frame, take_frame};
use super::handshake::{HandshakeError, Hello, Rejection, Welcome, receive_hello, respond_hello};
use super::message;
use super::network::BoxedStream;
use crate::limits::{DIAL_TIMEOUT, MAX_PEER_BYTES_IN_FLIGHT, PEER_IDLE_TIMEOUT, PEER_QUEUE};

pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// Handles the requests of one connection.
pub trait PeerSession: Send {
    /// Whether to close the connection. Called when data arrives.
    fn should_close(&mut self) -> bool;

    /// Called in the order of the requests.
    fn handle(&mut self, kind: u8, contents: Bytes) -> ResponseFuture;
}

/// Accepts connections and creates their sessions.
pub trait PeerService: Send + Sync + 'static {
    fn cluster_id(&self) -> u64;
    fn admit(&self, hello: &Hello) -> Result<Welcome, Rejection>;
    fn open_session(&self, hello: &Hello) -> Box<dyn PeerSession>;
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("greeting a peer")]
    Hello(#[from] HandshakeError),
    #[error("a peer's connection is damaged")]
    Frame(#[from] super::frame::FrameError),
    #[error("a peer's connection broke")]
    Io(#[from] std::io::Error),
}

/// Serves a connection until it ends.
pub async fn serve_peer(mut stream: BoxedStream, service: Arc<dyn PeerService>) -> Result<(), ServeError> {
    let hello = match tokio::time::timeout(DIAL_TIMEOUT, receive_hello(&mut *stream)).await {
        Ok(hello) => hello?,
        Err(_) => return Err(HandshakeError::Io(std::io::ErrorKind::TimedOut.into()).into()),
    };
    let admitted = service.admit(&hello);
    respond_hello(&mut *stream, service.cluster_id(), admitted).await?;
    admitted.map_err(HandshakeError::from)?;
    let mut session = service.open_session(&hello);
    let mut responses = FuturesUnordered::new();
    let mut received = BytesMut::with_capacity(16 << 10);
    let mut out = BytesMut::new();
    let mut last_received = Instant::now();
    // Bytes of the requests that are being handled.
    let mut bytes_in_flight = 0;
    loop {
        let has_capacity = responses.len() < PEER_QUEUE && bytes_in_flight < MAX_PEER_BYTES_IN_FLIGHT;
        tokio::select! {
            biased;
            Some(handled) = responses.next(), if !responses.is_empty() => {
                let mut next = Some(handled);
                // All ready responses share one write.
                while let Some((size, number, kind, result)) = next {
                    bytes_in_flight -= size;
                    put_response(&mut out, number, kind, result);
                    next = futures_util::FutureExt::now_or_never(responses.next()).flatten();
                }
                stream.write_all(&out).await?;
                stream.flush().await?;
                out.clear();
            }
            count = stream.read_buf(&mut received), if has_capacity => {
                last_received = Instant::now();
                if count? == 0 || session.should_close() {
                    return Ok(());
                }
                while let Some(Frame { kind, number, contents }) = take_frame(&mut received)? {
                    let size = contents.len();
                    bytes_in_flight += size;
                    let response = session.handle(kind, contents);
                    responses.push(async move { (size, number, kind, response.await) });
                }
            }
            () = tokio::time::sleep_until(last_received + PEER_IDLE_TIMEOUT), if responses.is_empty() => {
                return Err(ServeError::Io(std::io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

fn put_response(out: &mut BytesMut, number: u64, kind: u8, result: Result<Bytes, String>) {
    match result {
        Ok(contents) => put_frame(out, kind | message::RESPONSE, number, &contents),
        Err(reason) => put_frame(out, message::FAILED, number, reason.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::limits::MAX_FRAME_BYTES;
    use crate::peer::handshake::{DISK_RECORDS_VERSION, VERSIONS, send_hello};

    /// Never responds, and counts the received bytes.
    #[derive(Default)]
    struct HangingService(Arc<AtomicUsize>);

    impl PeerService for HangingService {
        fn cluster_id(&self) -> u64 {
            1
        }
        fn admit(&self, _: &Hello) -> Result<Welcome, Rejection> {
            Ok(Welcome { version: DISK_RECORDS_VERSION, disk: 4 })
        }
        fn open_session(&self, _: &Hello) -> Box<dyn PeerSession> {
            Box::new(Self(self.0.clone()))
        }
    }

    impl PeerSession for HangingService {
        fn should_close(&mut self) -> bool {
            false
        }
        fn handle(&mut self, _: u8, contents: Bytes) -> ResponseFuture {
            self.0.fetch_add(contents.len(), Ordering::SeqCst);
            Box::pin(async move {
                let _held = contents;
                std::future::pending().await
            })
        }
    }

    /// With a hanging disk, for example: the sender must wait instead of filling this member's memory.
    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_requests_hang_holds_so_much_and_no_more() {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let bytes_in_flight = Arc::new(AtomicUsize::new(0));
        let serving =
            tokio::spawn(serve_peer(Box::new(far), Arc::new(HangingService(bytes_in_flight.clone()))));
        send_hello(&mut near, &Hello { versions: VERSIONS, cluster_id: 1, from: 2, to: 1, disk: 3 })
            .await
            .unwrap();
        let contents = vec![0; MAX_FRAME_BYTES / 2];
        let mut frame = BytesMut::new();
        put_frame(&mut frame, 1, 1, &contents);
        let sending = async {
            loop {
                near.write_all(&frame).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(PEER_IDLE_TIMEOUT / 2, sending).await.is_err());
        let bytes_in_flight = bytes_in_flight.load(Ordering::SeqCst);
        assert!(
            (MAX_PEER_BYTES_IN_FLIGHT..MAX_PEER_BYTES_IN_FLIGHT + MAX_FRAME_BYTES).contains(&bytes_in_flight),
            "{bytes_in_flight}"
        );
        assert!(!serving.is_finished());
    }
}
