//! Fleetd to fleetd, over UDP: "have you the store?"
//!
//! A question is its kind and eight bytes by which its answer is known; an answer is no longer than the question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleet_node::{Answerer, Peer, Peers, Store};
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
    socket.connect(address).await?;
    let number = getrandom::u64().map_err(std::io::Error::other)?.to_be_bytes();
    let question = [QUESTION.as_slice(), &number].concat();
    loop {
        socket.send(&question).await?;
        let until = Instant::now() + AGAIN;
        let mut answer = [0; LENGTH + 1];
        while let Ok(read) = timeout_at(until, socket.recv(&mut answer)).await {
            let length = read?;
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
pub async fn answer<S: Store>(port: u16, answerer: Answerer<S>) {
    loop {
        let error = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(socket) => answer_on(Arc::new(socket), &answerer).await,
            // Without IPv6.
            Err(_) => match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await {
                Ok(socket) => answer_on(Arc::new(socket), &answerer).await,
                Err(error) => error,
            },
        };
        tracing::warn!("UDP port {port}, where other machines ask whether this one has the store: {error}");
        sleep(PATIENCE).await;
    }
}

async fn answer_on<S: Store>(socket: Arc<UdpSocket>, answerer: &Answerer<S>) -> std::io::Error {
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
        let (number, socket, answerer) = (number.to_vec(), socket.clone(), answerer.clone());
        tokio::spawn(async move {
            let kind = if answerer.has_store().await { HAS } else { HAS_NOT };
            if let Err(error) = socket.send_to(&[kind.as_slice(), &number].concat(), from).await {
                tracing::debug!("answering {from}: {error}");
            }
            drop(place);
        });
    }
}
