//! A link over a way that takes little, slowly, or nothing.

use std::sync::atomic::AtomicUsize;

use tokio::io::DuplexStream;

use super::*;
use crate::peer::hello::{VERSIONS, answer_hello, hear_hello};
use crate::peer::network::Dialing;

/// What a socket and a network take before they make the sender wait.
const ROOM: usize = 16 << 10;
const PACE: Pace = Pace { ping: Duration::from_millis(100), silence: Duration::from_secs(1) };

/// Each dial gives one end of a way, and keeps the other one for the test.
#[derive(Default)]
struct Ways {
    dialled: AtomicUsize,
    ends: Mutex<Vec<DuplexStream>>,
}

impl Network for Arc<Ways> {
    fn dial(&self, _: Target) -> Dialing {
        let (near, far) = tokio::io::duplex(ROOM);
        self.dialled.fetch_add(1, Ordering::Relaxed);
        self.ends.lock().push(far);
        Box::pin(async move { Ok(Box::new(near) as BoxedStream) })
    }
}

struct Open;

impl Gate for Open {
    fn hello(&self, to: u64) -> Hello {
        Hello { versions: VERSIONS, cluster_id: 1, from: 2, to, disk: 3 }
    }
    fn welcome(&self, _: u64, _: Welcome) -> std::io::Result<()> {
        Ok(())
    }
    fn still_welcome(&self, _: u64, _: u128) -> bool {
        true
    }
    fn pong(&self, _: u64, _: Duration, _: &[u8]) {}
    fn refused(&self, _: u64, _: &HelloError) {}
}

/// A link, and the other end of its next connection, which has greeted.
async fn connected() -> (Arc<Ways>, Link, DuplexStream) {
    let ways = Arc::new(Ways::default());
    let target = Target { member_id: 1, peer_urls: Vec::new() };
    let link = Link::open(target, Lane::Urgent, Arc::new(Arc::clone(&ways)), Arc::new(Open), PACE);
    let far = greeted(&ways).await;
    (ways, link, far)
}

async fn greeted(ways: &Ways) -> DuplexStream {
    let mut far = loop {
        let next = ways.ends.lock().pop();
        match next {
            Some(far) => break far,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    hear_hello(&mut far).await.unwrap();
    let welcome = Welcome { version: VERSION_OF_DISKS, disk: 4 };
    answer_hello(&mut far, 1, Ok(welcome)).await.unwrap();
    far
}

const KIND: u8 = 1;

/// As behind a partition: the kernel would try again after minutes, long after it is over.
#[tokio::test(start_paused = true)]
async fn a_way_that_takes_nothing_is_left_for_a_new_one() {
    let (ways, link, _far) = connected().await;
    let begun = Instant::now();
    let long = Bytes::from(vec![0; ROOM * 4]);
    assert_eq!(link.call(KIND, long, Duration::from_secs(60)).await, Err(LinkError::Lost));
    assert!(begun.elapsed() < PACE.silence * 2, "{:?}", begun.elapsed());
    greeted(&ways).await;
}

/// Heartbeats and pings stand behind it, and nothing comes back meanwhile.
#[tokio::test(start_paused = true)]
async fn a_long_message_on_a_slow_way_arrives() {
    let (ways, link, mut far) = connected().await;
    tokio::spawn(async move {
        let (mut buffer, mut piece) = (BytesMut::new(), vec![0; ROOM / 2]);
        loop {
            tokio::time::sleep(PACE.silence / 3).await;
            let read = far.read(&mut piece).await.unwrap();
            buffer.extend_from_slice(&piece[..read]);
            while let Some(frame) = take_frame(&mut buffer).unwrap() {
                let mut answer = BytesMut::new();
                put_frame(&mut answer, frame.kind | message::ANSWER, frame.number, &[]);
                far.write_all(&answer).await.unwrap();
            }
        }
    });
    let long = Bytes::from(vec![0; ROOM * 20]);
    assert_eq!(link.call(KIND, long, Duration::from_secs(60)).await, Ok(Bytes::new()));
    assert_eq!(ways.dialled.load(Ordering::Relaxed), 1);
}
