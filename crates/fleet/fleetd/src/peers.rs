//! UDP protocol between fleetds to find out whether a peer can reach the store.
//!
//! A request has a type, a nonce of eight bytes, and the id of the target machine, as its address may have been
//! reassigned. A response is never longer than its request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleet_core::MachineId;
use fleet_node::{Peer, Peers};
use futures_util::future::join_all;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

const REQUEST: &[u8; 7] = b"fleet2?";
const HAS_STORE: &[u8; 7] = b"fleet2+";
const NO_STORE: &[u8; 7] = b"fleet2-";
const NONCE_BYTES: usize = 8;
/// Limit of a request: a machine id has 32 digits.
const MAX_REQUEST_BYTES: usize = 128;
/// Includes the read of the store by the peer.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(2500);
/// Interval of retransmissions.
const RETRY_INTERVAL: Duration = Duration::from_millis(400);
const MAX_CONCURRENT_REQUESTS: usize = 64;
/// A successful read of the store is reused for this time, to limit the load by requests.
const MAX_READ_AGE: Duration = Duration::from_millis(100);

/// Sends requests to peers at this port. Without a port, no peer counts as disconnected from the store.
#[derive(Clone, Copy)]
pub struct Asker {
    pub port: Option<u16>,
}

impl Peers for Asker {
    async fn all_without_store(&self, others: &[Peer]) -> bool {
        let Some(port) = self.port else { return false };
        let all = others.iter().map(|peer| is_without(peer, port));
        join_all(all).await.into_iter().all(|without| without)
    }
}

async fn is_without(peer: &Peer, port: u16) -> bool {
    let Ok(address) = peer.address.parse::<IpAddr>() else { return false };
    let response = ask(SocketAddr::new(address, port), &peer.id);
    match timeout(RESPONSE_TIMEOUT, response).await {
        Ok(Ok(kind)) => kind == *NO_STORE,
        Ok(Err(error)) => {
            tracing::debug!("asking Machine({}): {error}", peer.id);
            false
        }
        Err(_) => false,
    }
}

async fn ask(address: SocketAddr, id: &MachineId) -> std::io::Result<[u8; 7]> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    let nonce = getrandom::u64().map_err(std::io::Error::other)?.to_be_bytes();
    let request = [REQUEST.as_slice(), &nonce, id.as_str().as_bytes()].concat();
    loop {
        socket.send_to(&request, address).await?;
        let until = Instant::now() + RETRY_INTERVAL;
        let mut response = [0; MAX_REQUEST_BYTES];
        // The source address may differ; the nonce identifies the response.
        while let Ok(read) = timeout_at(until, socket.recv_from(&mut response)).await {
            let (length, _) = read?;
            let (kind, rest) = response[..length].split_at(length.min(REQUEST.len()));
            if rest == nonce
                && let Ok(kind) = kind.try_into()
            {
                return Ok(kind);
            }
        }
    }
}

/// Serves requests to this machine, `me`, forever. Binding the port is retried; meanwhile, peers without the store stop
/// their units.
pub async fn respond<F: Future<Output = bool> + Send + 'static>(
    port: u16,
    me: MachineId,
    has_store: impl Fn() -> F,
) {
    loop {
        let error = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(socket) => respond_on(Arc::new(socket), &me, &has_store).await,
            // IPv6 may be disabled.
            Err(_) => match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await {
                Ok(socket) => respond_on(Arc::new(socket), &me, &has_store).await,
                Err(error) => error,
            },
        };
        tracing::warn!(
            "UDP port {port}, on which other machines query this one's connection to the store: {error}"
        );
        sleep(RESPONSE_TIMEOUT).await;
    }
}

async fn respond_on<F: Future<Output = bool> + Send + 'static>(
    socket: Arc<UdpSocket>,
    me: &MachineId,
    has_store: &impl Fn() -> F,
) -> std::io::Error {
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS));
    let last_read = Arc::new(LastRead::default());
    loop {
        let mut request = [0; MAX_REQUEST_BYTES];
        let (length, from) = match socket.recv_from(&mut request).await {
            Ok(got) => got,
            Err(error) => return error,
        };
        // Requests over the limit are dropped; peers retransmit.
        let (Some(nonce), Ok(permit)) =
            (parse_request(&request[..length], me), permits.clone().try_acquire_owned())
        else {
            continue;
        };
        let (socket, last_read, read) = (socket.clone(), last_read.clone(), has_store());
        let requested = Instant::now();
        tokio::spawn(async move {
            let kind = if last_read.respond(requested, read).await { HAS_STORE } else { NO_STORE };
            if let Err(error) = socket.send_to(&[kind.as_slice(), &nonce].concat(), from).await {
                tracing::debug!("answering {from}: {error}");
            }
            drop(permit);
        });
    }
}

/// The last read of the store, shared by all requests that arrived before it completed.
#[derive(Default)]
struct LastRead(Mutex<Option<(Instant, bool)>>);

impl LastRead {
    async fn respond(&self, requested: Instant, read: impl Future<Output = bool>) -> bool {
        let mut last_read = self.0.lock().await;
        if let Some((ended, has)) = *last_read
            // A failed read must not be older than the request.
            && (ended >= requested || has && requested - ended < MAX_READ_AGE)
        {
            return has;
        }
        let has = read.await;
        *last_read = Some((Instant::now(), has));
        has
    }
}

/// The nonce of a request to this machine.
fn parse_request(request: &[u8], me: &MachineId) -> Option<[u8; NONCE_BYTES]> {
    let (nonce, id) = request.strip_prefix(REQUEST)?.split_first_chunk::<NONCE_BYTES>()?;
    (id == me.as_str().as_bytes()).then_some(*nonce)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn peer(id: &str, address: &str) -> Peer {
        Peer { id: MachineId::new(id), address: address.to_owned() }
    }

    /// A machine that responds at its port on all addresses of this host.
    fn machine(id: &str, has: &Arc<AtomicBool>) -> (u16, tokio::task::JoinHandle<()>) {
        let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let has = has.clone();
        let responder = respond(port, MachineId::new(id), move || {
            let has = has.clone();
            async move { has.load(Ordering::SeqCst) }
        });
        (port, tokio::spawn(responder))
    }

    /// A read of the store is a quorum read.
    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_a_read() {
        let (last_read, reads, has) = (LastRead::default(), AtomicUsize::new(0), AtomicBool::new(true));
        let ask = || {
            let read = async {
                reads.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(30)).await;
                has.load(Ordering::SeqCst)
            };
            last_read.respond(Instant::now(), read)
        };
        let answers = join_all((0..100).map(|_| ask())).await;
        assert_eq!((answers, reads.load(Ordering::SeqCst)), (vec![true; 100], 1));
        sleep(MAX_READ_AGE).await;
        has.store(false, Ordering::SeqCst);
        assert_eq!(join_all((0..100).map(|_| ask())).await, vec![false; 100]);
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        // A failed read is not reused.
        has.store(true, Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
        assert!(ask().await);
    }

    #[tokio::test]
    async fn all_machines_must_report_no_store() {
        let has = Arc::new(AtomicBool::new(false));
        let (port, responder) = machine("a", &has);
        let asker = Asker { port: Some(port) };
        assert!(asker.all_without_store(&[peer("a", "127.0.0.1")]).await);
        assert!(
            !asker.all_without_store(&[peer("a", "127.0.0.1"), peer("b", "")]).await,
            "one has no address"
        );
        assert!(!Asker { port: None }.all_without_store(&[peer("a", "127.0.0.1")]).await);
        has.store(true, Ordering::SeqCst);
        assert!(!asker.all_without_store(&[peer("a", "127.0.0.1")]).await);
        has.store(false, Ordering::SeqCst);
        responder.abort();
        assert!(responder.await.is_err());
        assert!(!asker.all_without_store(&[peer("a", "127.0.0.1")]).await, "nobody answers");
    }

    /// Machines behind NAT may publish the same address, and addresses are reassigned.
    #[tokio::test]
    async fn a_machine_answers_for_itself_alone() {
        let (port, responder) = machine("me", &Arc::default());
        let asker = Asker { port: Some(port) };
        assert!(!asker.all_without_store(&[peer("other", "127.0.0.1")]).await, "it has asked itself");
        let both = [peer("me", "127.0.0.1"), peer("other", "127.0.0.1")];
        assert!(!asker.all_without_store(&both).await, "two machines of one address");
        responder.abort();
    }

    #[tokio::test]
    async fn invalid_requests_get_no_response() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let me = MachineId::new("me");
        let responder =
            tokio::spawn(async move { respond_on(Arc::new(socket), &me, &|| async { false }).await });
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let long = [b"fleet2?12345678".as_slice(), &[b'm'; 1000]].concat();
        let requests: [&[u8]; 6] =
            [b"fleet2?12345678", b"fleet2?12345678you", b"fleet1?12345678me", b"fleet2?1234567", b"", &long];
        for request in requests {
            stranger.send_to(request, address).await.unwrap();
        }
        stranger.send_to(b"fleet2?12345678me", address).await.unwrap();
        let mut response = [0; 64];
        let (length, _) = stranger.recv_from(&mut response).await.unwrap();
        assert_eq!(&response[..length], b"fleet2-12345678");
        responder.abort();
    }
}
