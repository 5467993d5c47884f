//! Fleetd to fleetd, over UDP: "have you the store?"
//!
//! A request is its kind, a nonce of eight bytes, and the id of the machine that it is meant for: its address may belong to
//! another machine by now, or to the sender. A response is no longer than the request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleet_core::MachineId;
use fleet_node::{Peer, Peers};
use futures_util::future::join_all;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

const QUESTION: &[u8; 7] = b"fleet2?";
const HAS: &[u8; 7] = b"fleet2+";
const HAS_NOT: &[u8; 7] = b"fleet2-";
/// Length of the nonce.
const NUMBER: usize = 8;
/// Limit of a request: a machine id has 32 digits.
const LONGEST: usize = 128;
/// The other one asks the store first, for which it takes its time.
const PATIENCE: Duration = Duration::from_millis(2500);
/// A lost datagram is sent again.
const AGAIN: Duration = Duration::from_millis(400);
/// Questions that are answered at a time.
const AT_A_TIME: usize = 64;
/// That this machine has the store is said without another read for this long: anybody may ask.
const FRESH: Duration = Duration::from_millis(100);

/// Asks the other machines at this port. Without one nobody is asked, and so nobody has said that it has none.
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
    let asked = ask(SocketAddr::new(address, port), &peer.id);
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer == *HAS_NOT,
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
    let number = getrandom::u64().map_err(std::io::Error::other)?.to_be_bytes();
    let question = [QUESTION.as_slice(), &number, id.as_str().as_bytes()].concat();
    loop {
        socket.send_to(&question, address).await?;
        let until = Instant::now() + AGAIN;
        let mut answer = [0; LONGEST];
        // From whichever of its addresses it answers: the number says who it is.
        while let Ok(read) = timeout_at(until, socket.recv_from(&mut answer)).await {
            let (length, _) = read?;
            let (kind, rest) = answer[..length].split_at(length.min(QUESTION.len()));
            if rest == number
                && let Ok(kind) = kind.try_into()
            {
                return Ok(kind);
            }
        }
    }
}

/// Answers requests to this machine, `me`, forever. A port that cannot be bound is retried: meanwhile the other machines get
/// no response, and stop their units in doubt.
pub async fn answer<F: Future<Output = bool> + Send + 'static>(
    port: u16,
    me: MachineId,
    has_store: impl Fn() -> F,
) {
    loop {
        let error = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(socket) => answer_on(Arc::new(socket), &me, &has_store).await,
            // Without IPv6.
            Err(_) => match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await {
                Ok(socket) => answer_on(Arc::new(socket), &me, &has_store).await,
                Err(error) => error,
            },
        };
        tracing::warn!("UDP port {port}, where other machines ask whether this one has the store: {error}");
        sleep(PATIENCE).await;
    }
}

async fn answer_on<F: Future<Output = bool> + Send + 'static>(
    socket: Arc<UdpSocket>,
    me: &MachineId,
    has_store: &impl Fn() -> F,
) -> std::io::Error {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let last = Arc::new(LastRead::default());
    loop {
        let mut question = [0; LONGEST];
        let (length, from) = match socket.recv_from(&mut question).await {
            Ok(got) => got,
            Err(error) => return error,
        };
        // Where too many ask, who is not answered asks again.
        let (Some(number), Ok(place)) = (asked(&question[..length], me), places.clone().try_acquire_owned())
        else {
            continue;
        };
        let (socket, last, read) = (socket.clone(), last.clone(), has_store());
        let asked = Instant::now();
        tokio::spawn(async move {
            let kind = if last.answer(asked, read).await { HAS } else { HAS_NOT };
            if let Err(error) = socket.send_to(&[kind.as_slice(), &number].concat(), from).await {
                tracing::debug!("answering {from}: {error}");
            }
            drop(place);
        });
    }
}

/// The last read of the store, which answers all questions that came before it ended.
#[derive(Default)]
struct LastRead(Mutex<Option<(Instant, bool)>>);

impl LastRead {
    async fn answer(&self, asked: Instant, read: impl Future<Output = bool>) -> bool {
        let mut last = self.0.lock().await;
        if let Some((ended, has)) = *last
            // That it has none counts from the question on.
            && (ended >= asked || has && asked - ended < FRESH)
        {
            return has;
        }
        let has = read.await;
        *last = Some((Instant::now(), has));
        has
    }
}

/// The number of a question to this machine.
fn asked(question: &[u8], me: &MachineId) -> Option<[u8; NUMBER]> {
    let (number, id) = question.strip_prefix(QUESTION)?.split_first_chunk::<NUMBER>()?;
    (id == me.as_str().as_bytes()).then_some(*number)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn peer(id: &str, address: &str) -> Peer {
        Peer { id: MachineId::new(id), address: address.to_owned() }
    }

    /// A machine that answers at its port on every address of this host.
    fn machine(id: &str, has: &Arc<AtomicBool>) -> (u16, tokio::task::JoinHandle<()>) {
        let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let has = has.clone();
        let answering = answer(port, MachineId::new(id), move || {
            let has = has.clone();
            async move { has.load(Ordering::SeqCst) }
        });
        (port, tokio::spawn(answering))
    }

    /// Anybody may ask; a read of the store is a round of all its members.
    #[tokio::test(start_paused = true)]
    async fn many_questions_are_few_reads() {
        let (last, reads, has) = (LastRead::default(), AtomicUsize::new(0), AtomicBool::new(true));
        let ask = || {
            let read = async {
                reads.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(30)).await;
                has.load(Ordering::SeqCst)
            };
            last.answer(Instant::now(), read)
        };
        let answers = join_all((0..100).map(|_| ask())).await;
        assert_eq!((answers, reads.load(Ordering::SeqCst)), (vec![true; 100], 1));
        sleep(FRESH).await;
        has.store(false, Ordering::SeqCst);
        assert_eq!(join_all((0..100).map(|_| ask())).await, vec![false; 100]);
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        // An old "no" is none: the store may be back.
        has.store(true, Ordering::SeqCst);
        sleep(Duration::from_millis(1)).await;
        assert!(ask().await);
    }

    #[tokio::test]
    async fn all_must_say_that_they_have_none() {
        let has = Arc::new(AtomicBool::new(false));
        let (port, answering) = machine("a", &has);
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
        answering.abort();
        assert!(answering.await.is_err());
        assert!(!asker.all_without_store(&[peer("a", "127.0.0.1")]).await, "nobody answers");
    }

    /// Behind NAT each machine may be told to have the same address, and addresses are given to other machines.
    #[tokio::test]
    async fn a_machine_answers_for_itself_alone() {
        let (port, answering) = machine("me", &Arc::default());
        let asker = Asker { port: Some(port) };
        assert!(!asker.all_without_store(&[peer("other", "127.0.0.1")]).await, "it has asked itself");
        let both = [peer("me", "127.0.0.1"), peer("other", "127.0.0.1")];
        assert!(!asker.all_without_store(&both).await, "two machines of one address");
        answering.abort();
    }

    #[tokio::test]
    async fn strangers_get_no_answer() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let me = MachineId::new("me");
        let served = tokio::spawn(async move { answer_on(Arc::new(socket), &me, &|| async { false }).await });
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let long = [b"fleet2?12345678".as_slice(), &[b'm'; 1000]].concat();
        let questions: [&[u8]; 6] =
            [b"fleet2?12345678", b"fleet2?12345678you", b"fleet1?12345678me", b"fleet2?1234567", b"", &long];
        for question in questions {
            stranger.send_to(question, address).await.unwrap();
        }
        stranger.send_to(b"fleet2?12345678me", address).await.unwrap();
        let mut answer = [0; 64];
        let (length, _) = stranger.recv_from(&mut answer).await.unwrap();
        assert_eq!(&answer[..length], b"fleet2-12345678");
        served.abort();
    }
}
