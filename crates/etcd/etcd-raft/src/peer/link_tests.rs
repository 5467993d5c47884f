//! Links over slow and blocked connections.

use std::sync::atomic::AtomicUsize;

use tokio::io::DuplexStream;

use super::*;
use crate::peer::handshake::{VERSIONS, receive_hello, respond_hello};
use crate::peer::network::Dialing;

/// The bytes that the connection buffers before the sender blocks.
const PIPE_BYTES: usize = 16 << 10;
const SILENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// Each dial creates a connection; the test takes its far end.
#[derive(Default)]
struct TestNetwork {
    dialled: AtomicUsize,
    ends: Mutex<Vec<DuplexStream>>,
}

impl Network for Arc<TestNetwork> {
    fn dial(&self, _: Target) -> Dialing {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.dialled.fetch_add(1, Ordering::Relaxed);
        self.ends.lock().push(far);
        Box::pin(async move { Ok(Box::new(near) as BoxedStream) })
    }
}

struct AcceptAll;

impl LinkHandler for AcceptAll {
    fn hello(&self, to: u64) -> Hello {
        Hello { versions: VERSIONS, cluster_id: 1, from: 2, to, disk: 3 }
    }
    fn verify(&self, _: u64, _: Welcome) -> std::io::Result<()> {
        Ok(())
    }
    fn is_disk_accepted(&self, _: u64, _: u128) -> bool {
        true
    }
    fn pong(&self, _: u64, _: Duration, _: &[u8]) {}
    fn rejected(&self, _: u64, _: &HandshakeError) {}
}

/// A link and the far end of its connection, after the handshake.
async fn connected() -> (Arc<TestNetwork>, Link, DuplexStream) {
    let network = Arc::new(TestNetwork::default());
    let target = Target { member_id: 1, peer_urls: Vec::new() };
    let timing = LinkTiming::new(Duration::from_millis(50), SILENCE_TIMEOUT);
    let link = Link::open(target, Lane::Urgent, Arc::new(Arc::clone(&network)), Arc::new(AcceptAll), timing);
    let far = accept(&network).await;
    (network, link, far)
}

async fn accept(network: &TestNetwork) -> DuplexStream {
    let mut far = loop {
        let next = network.ends.lock().pop();
        match next {
            Some(far) => break far,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    receive_hello(&mut far).await.unwrap();
    let welcome = Welcome { version: DISK_RECORDS_VERSION, disk: 4 };
    respond_hello(&mut far, 1, Ok(welcome)).await.unwrap();
    far
}

const KIND: u8 = 1;

/// After a partition TCP would retransmit only minutes later.
#[tokio::test(start_paused = true)]
async fn a_way_that_takes_nothing_is_left_for_a_new_one() {
    let (network, link, _far) = connected().await;
    let begun = Instant::now();
    let long = Bytes::from(vec![0; PIPE_BYTES * 4]);
    assert_eq!(link.call(KIND, long, Duration::from_secs(60)).await, Err(LinkError::Lost));
    assert!(begun.elapsed() < SILENCE_TIMEOUT * 2, "{:?}", begun.elapsed());
    accept(&network).await;
}

/// Heartbeats and pings wait behind the message, and nothing is received meanwhile.
#[tokio::test(start_paused = true)]
async fn a_long_message_on_a_slow_way_arrives() {
    let (network, link, mut far) = connected().await;
    tokio::spawn(async move {
        let (mut buffer, mut chunk) = (BytesMut::new(), vec![0; PIPE_BYTES / 2]);
        loop {
            tokio::time::sleep(SILENCE_TIMEOUT / 3).await;
            let read = far.read(&mut chunk).await.unwrap();
            buffer.extend_from_slice(&chunk[..read]);
            while let Some(frame) = take_frame(&mut buffer).unwrap() {
                let mut response = BytesMut::new();
                put_frame(&mut response, frame.kind | message::RESPONSE, frame.number, &[]);
                far.write_all(&response).await.unwrap();
            }
        }
    });
    let long = Bytes::from(vec![0; PIPE_BYTES * 20]);
    assert_eq!(link.call(KIND, long, Duration::from_secs(60)).await, Ok(Bytes::new()));
    assert_eq!(network.dialled.load(Ordering::Relaxed), 1);
}
