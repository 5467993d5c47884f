use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use super::*;

fn key() -> FenceKey {
    FenceKey([7; FenceKey::BYTES])
}

fn peer(id: &str, address: &str) -> Peer {
    Peer { id: MachineId::new(id), address: address.to_owned() }
}

/// A machine that responds at its port on all addresses of this host.
fn machine(id: &str, key: FenceKey, has: &Arc<AtomicBool>) -> (Asker, JoinHandle<()>) {
    let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let has = has.clone();
    let responder = Responder {
        me: MachineId::new(id),
        fence_key: move || Some(key.clone()),
        has_store: move || std::future::ready(has.load(Ordering::SeqCst)),
    };
    (Asker { port: Some(port) }, tokio::spawn(responder.run(port)))
}

const READ_TIME: Duration = Duration::from_millis(50);

/// The responder of the machine `me`, whose reads of the store take [`READ_TIME`].
struct SlowStore {
    address: SocketAddr,
    reads: Arc<AtomicUsize>,
    serving: JoinHandle<std::io::Error>,
}

impl SlowStore {
    async fn start(has_store: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = reads.clone();
        let read = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(READ_TIME).await;
                has_store
            }
        };
        let responder = Responder { me: MachineId::new("me"), fence_key: || Some(key()), has_store: read };
        let serving = tokio::spawn(async move { responder.serve(&socket).await });
        Self { address, reads, serving }
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

/// How often `interval` fits into the time since `started`.
fn elapsed(started: Instant, interval: Duration) -> usize {
    usize::try_from(started.elapsed().as_millis() / interval.as_millis()).unwrap()
}

async fn send(socket: &UdpSocket, to: SocketAddr, number: u64) {
    let request = message::request(&key(), &number.to_be_bytes(), &MachineId::new("me"));
    socket.send_to(&request, to).await.unwrap();
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut datagram = [0; message::MAX_BYTES];
    let received = timeout(Duration::from_secs(60), socket.recv_from(&mut datagram)).await;
    let (length, from) = received.expect("no response").unwrap();
    (datagram[..length].to_vec(), from)
}

/// A read of the store is a quorum read.
#[tokio::test]
async fn concurrent_requests_share_a_read() {
    let machine = SlowStore::start(false).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        let (started, before) = (Instant::now(), machine.reads());
        for number in 0..100 {
            send(&client, machine.address, number).await;
        }
        for _ in 0..100 {
            receive(&client).await;
        }
        let (found, most) = (machine.reads() - before, 1 + elapsed(started, READ_TIME));
        // One at least: a failed read is not reused.
        assert!((1..=most).contains(&found), "{found} reads, at most {most}");
    }
    machine.serving.abort();
}

#[tokio::test]
async fn a_successful_read_is_reused_for_a_moment() {
    let machine = SlowStore::start(true).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let started = Instant::now();
    for number in 0..100 {
        send(&client, machine.address, number).await;
        receive(&client).await;
    }
    let (found, most) = (machine.reads(), 1 + elapsed(started, MAX_READ_AGE));
    assert!((1..=most).contains(&found), "{found} reads, at most {most}");
    sleep(MAX_READ_AGE).await;
    send(&client, machine.address, 100).await;
    receive(&client).await;
    assert_eq!(machine.reads(), found + 1);
    machine.serving.abort();
}

#[tokio::test]
async fn all_machines_must_report_no_store() {
    let has = Arc::new(AtomicBool::new(false));
    let (asker, responder) = machine("a", key(), &has);
    assert!(asker.all_without_store(&key(), &[peer("a", "127.0.0.1")]).await);
    let two = [peer("a", "127.0.0.1"), peer("b", "")];
    assert!(!asker.all_without_store(&key(), &two).await, "one has no address");
    assert!(!Asker { port: None }.all_without_store(&key(), &two[..1]).await);
    has.store(true, Ordering::SeqCst);
    assert!(!asker.all_without_store(&key(), &two[..1]).await);
    has.store(false, Ordering::SeqCst);
    responder.abort();
    assert!(responder.await.is_err());
    assert!(!asker.all_without_store(&key(), &two[..1]).await, "nobody responds");
}

/// Machines behind NAT may publish the same address, and addresses are reassigned.
#[tokio::test]
async fn a_machine_answers_for_itself_alone() {
    let (asker, responder) = machine("me", key(), &Arc::default());
    let other = [peer("other", "127.0.0.1")];
    assert!(!asker.all_without_store(&key(), &other).await, "it has asked itself");
    let both = [peer("me", "127.0.0.1"), peer("other", "127.0.0.1")];
    assert!(!asker.all_without_store(&key(), &both).await, "two machines of one address");
    responder.abort();
}

/// Otherwise whoever takes over a machine's address makes others run units that were moved.
#[tokio::test]
async fn responses_without_the_key_of_the_cluster_are_not_believed() {
    let (asker, responder) = machine("a", FenceKey([8; FenceKey::BYTES]), &Arc::default());
    assert!(!asker.all_without_store(&key(), &[peer("a", "127.0.0.1")]).await);
    responder.abort();
    // An attacker who reads the request.
    let attacker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asker = Asker { port: Some(attacker.local_addr().unwrap().port()) };
    let forging = tokio::spawn(async move {
        loop {
            let (request, from) = receive(&attacker).await;
            let nonce = request[7..15].try_into().unwrap();
            let mut forged =
                message::response(&FenceKey([0; FenceKey::BYTES]), &nonce, &MachineId::new("a"), false);
            attacker.send_to(&forged, from).await.unwrap();
            forged.truncate(15);
            attacker.send_to(&forged, from).await.unwrap();
        }
    });
    assert!(!asker.all_without_store(&key(), &[peer("a", "127.0.0.1")]).await, "a forged response");
    forging.abort();
}

#[tokio::test]
async fn invalid_requests_get_no_response() {
    let machine = SlowStore::start(false).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let valid = message::request(&key(), b"12345678", &MachineId::new("me"));
    let of_other = message::request(&key(), b"12345678", &MachineId::new("you"));
    let without_key = message::request(&FenceKey([8; FenceKey::BYTES]), b"12345678", &MachineId::new("me"));
    let long = [valid.as_slice(), &[b'm'; 1000]].concat();
    for request in [&of_other, &without_key, &long, &valid[..valid.len() - 1].to_vec(), &Vec::new()] {
        client.send_to(request, machine.address).await.unwrap();
    }
    client.send_to(&valid, machine.address).await.unwrap();
    let expected = message::response(&key(), b"12345678", &MachineId::new("me"), false);
    assert_eq!(receive(&client).await.0, expected);
    assert_eq!(machine.reads(), 1);
    machine.serving.abort();
}
