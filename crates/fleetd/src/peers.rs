//! Fleetd to fleetd, over UDP: "have you the store?"
//!
//! A question is its kind and eight bytes by which its answer is known; an answer is no longer than the question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleet_node::{Peer, Peers};
use futures_util::future::join_all;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

const QUESTION: &[u8; 7] = b"fleet1?";
const HAS: &[u8; 7] = b"fleet1+";
const HAS_NOT: &[u8; 7] = b"fleet1-";
const LENGTH: usize = QUESTION.len() + 8;
/// The other one asks the store first, for which it takes its time.
const PATIENCE: Duration = Duration::from_millis(2500);
/// A lost datagram is sent again.
const AGAIN: Duration = Duration::from_millis(400);
/// Questions that are answered at a time.
const AT_A_TIME: usize = 64;

/// Asks the other machines at this port. Without one nobody is asked, and so nobody has said that it has none.
#[derive(Clone, Copy)]
pub struct Asker {
    pub port: Option<u16>,
}

impl Peers for Asker {
    async fn all_without(&self, others: &[Peer]) -> bool {
        let Some(port) = self.port else { return false };
        let all = others.iter().map(|peer| is_without(peer, port));
        join_all(all).await.into_iter().all(|without| without)
    }
}

async fn is_without(peer: &Peer, port: u16) -> bool {
    let Ok(address) = peer.address.parse::<IpAddr>() else { return false };
    let asked = ask(SocketAddr::new(address, port));
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer == *HAS_NOT,
        Ok(Err(error)) => {
            tracing::debug!("asking Machine({}): {error}", peer.id);
            false
        }
        Err(_) => false,
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<[u8; 7]> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    let number = getrandom::u64().map_err(std::io::Error::other)?.to_be_bytes();
    let question = [QUESTION.as_slice(), &number].concat();
    loop {
        socket.send_to(&question, address).await?;
        let until = Instant::now() + AGAIN;
        let mut answer = [0; LENGTH + 1];
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

/// Answers others, for ever. A port that can not be had is tried again: meanwhile others get no answer, and stop
/// their units in doubt.
pub async fn answer<F: Future<Output = bool> + Send + 'static>(port: u16, has_store: impl Fn() -> F) {
    loop {
        let error = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(socket) => answer_on(Arc::new(socket), &has_store).await,
            // Without IPv6.
            Err(_) => match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await {
                Ok(socket) => answer_on(Arc::new(socket), &has_store).await,
                Err(error) => error,
            },
        };
        tracing::warn!("UDP port {port}, where other machines ask whether this one has the store: {error}");
        sleep(PATIENCE).await;
    }
}

async fn answer_on<F: Future<Output = bool> + Send + 'static>(
    socket: Arc<UdpSocket>,
    has_store: &impl Fn() -> F,
) -> std::io::Error {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        let mut question = [0; LENGTH + 1];
        let (length, from) = match socket.recv_from(&mut question).await {
            Ok(got) => got,
            Err(error) => return error,
        };
        // Where too many ask, who is not answered asks again.
        let (true, Some(number), Ok(place)) =
            (length == LENGTH, question[..LENGTH].strip_prefix(QUESTION), places.clone().try_acquire_owned())
        else {
            continue;
        };
        let (number, socket, has_store) = (number.to_vec(), socket.clone(), has_store());
        tokio::spawn(async move {
            let kind = if has_store.await { HAS } else { HAS_NOT };
            if let Err(error) = socket.send_to(&[kind.as_slice(), &number].concat(), from).await {
                tracing::debug!("answering {from}: {error}");
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use cluster::MachineId;

    use super::*;

    #[tokio::test]
    async fn all_must_say_that_they_have_none() {
        let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let has = Arc::new(AtomicBool::new(false));
        let answered = has.clone();
        let answering = tokio::spawn(answer(port, move || {
            let has = answered.clone();
            async move { has.load(Ordering::SeqCst) }
        }));
        let peers = |addresses: &[&str]| -> Vec<Peer> {
            let one = |address: &&str| Peer { id: MachineId::new(address), address: (*address).to_owned() };
            addresses.iter().map(one).collect()
        };
        let asker = Asker { port: Some(port) };
        assert!(asker.all_without(&peers(&["127.0.0.1", "127.0.0.2"])).await);
        assert!(!asker.all_without(&peers(&["127.0.0.1", ""])).await, "one has no address");
        assert!(!Asker { port: None }.all_without(&peers(&["127.0.0.1"])).await);
        has.store(true, Ordering::SeqCst);
        assert!(!asker.all_without(&peers(&["127.0.0.1"])).await);
        has.store(false, Ordering::SeqCst);
        answering.abort();
        assert!(answering.await.is_err());
        assert!(!asker.all_without(&peers(&["127.0.0.1"])).await, "nobody answers");
    }

    #[tokio::test]
    async fn strangers_get_no_answer() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let served = tokio::spawn(async move { answer_on(Arc::new(socket), &|| async { false }).await });
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for question in [&b"fleet1?1234567"[..], b"fleet1?123456789", b"fleet2?12345678", b""] {
            stranger.send_to(question, address).await.unwrap();
        }
        stranger.send_to(b"fleet1?12345678", address).await.unwrap();
        let mut answer = [0; 64];
        let (length, _) = stranger.recv_from(&mut answer).await.unwrap();
        assert_eq!(&answer[..length], b"fleet1-12345678");
        served.abort();
    }
}
