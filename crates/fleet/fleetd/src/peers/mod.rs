//! Queries between fleetds over UDP, to find out whether a peer can reach the store.

mod message;
mod pending;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use fleet_core::{FenceKey, MachineId};
use fleet_node::{Peer, Peers};
use futures_util::future::{OptionFuture, join_all};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use message::Nonce;
use pending::Pending;

/// Includes the read of the store by the peer.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(2500);
/// Interval of retransmissions.
const RETRY_INTERVAL: Duration = Duration::from_millis(400);
/// A successful read of the store is reused for this time, to limit the load by requests.
const MAX_READ_AGE: Duration = Duration::from_millis(100);

/// Sends requests to peers at this port. Without a port, no peer counts as disconnected from the store.
#[derive(Clone, Copy)]
pub struct Asker {
    pub port: Option<u16>,
}

impl Peers for Asker {
    async fn all_without_store(&self, key: &FenceKey, others: &[Peer]) -> bool {
        let Some(port) = self.port else { return false };
        let all = others.iter().map(|peer| is_without(peer, port, key));
        join_all(all).await.into_iter().all(|without| without)
    }
}

async fn is_without(peer: &Peer, port: u16, key: &FenceKey) -> bool {
    let Ok(address) = peer.address.parse::<IpAddr>() else { return false };
    let response = query(SocketAddr::new(address, port), &peer.id, key);
    match timeout(RESPONSE_TIMEOUT, response).await {
        Ok(Ok(has_store)) => !has_store,
        Ok(Err(error)) => {
            tracing::debug!("querying Machine({}): {error}", peer.id);
            false
        }
        Err(_) => false,
    }
}

/// Whether the machine reaches the store.
async fn query(address: SocketAddr, id: &MachineId, key: &FenceKey) -> std::io::Result<bool> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    let nonce = getrandom::u64().map_err(std::io::Error::other)?.to_be_bytes();
    let request = message::request(key, &nonce, id);
    loop {
        socket.send_to(&request, address).await?;
        let until = Instant::now() + RETRY_INTERVAL;
        let mut datagram = [0; message::MAX_BYTES];
        // The source address may differ; the nonce identifies the response.
        while let Ok(received) = timeout_at(until, socket.recv_from(&mut datagram)).await {
            let (length, _) = received?;
            if let Some(has_store) = message::parse_response(key, &nonce, id, &datagram[..length]) {
                return Ok(has_store);
            }
        }
    }
}

/// Serves requests to one machine.
pub struct Responder<K, S> {
    pub me: MachineId,
    /// The cluster's fence key, if it is known.
    pub fence_key: K,
    /// Reads the store.
    pub has_store: S,
}

impl<K, S, F> Responder<K, S>
where
    K: Fn() -> Option<FenceKey>,
    S: Fn() -> F,
    F: Future<Output = bool>,
{
    /// Never returns. Binding the port is retried; meanwhile, peers without the store stop their units.
    pub async fn run(self, port: u16) {
        loop {
            let error = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).await {
                Ok(socket) => self.serve(&socket).await,
                // IPv6 may be disabled.
                Err(_) => match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await {
                    Ok(socket) => self.serve(&socket).await,
                    Err(error) => error,
                },
            };
            tracing::warn!(
                "UDP port {port}, on which other machines query this one's connection to the store: {error}"
            );
            sleep(RESPONSE_TIMEOUT).await;
        }
    }

    /// Returns when the socket fails.
    async fn serve(&self, socket: &UdpSocket) -> std::io::Error {
        let mut pending = Pending::default();
        // One for all requests that arrive before it ends.
        let mut read: OptionFuture<Pin<Box<F>>> = None.into();
        let mut last_success: Option<Instant> = None;
        let mut datagram = [0; message::MAX_BYTES];
        loop {
            tokio::select! {
                received = socket.recv_from(&mut datagram) => {
                    let (length, from) = match received {
                        Ok(received) => received,
                        Err(error) => return error,
                    };
                    let Some(key) = (self.fence_key)() else { continue };
                    let request = message::parse_request(&key, &self.me, &datagram[..length]);
                    let Some(nonce) = request else { continue };
                    if last_success.is_some_and(|ended| ended.elapsed() < MAX_READ_AGE) {
                        self.respond(socket, &key, from, &nonce, true).await;
                    } else {
                        if pending.is_empty() {
                            read = Some(Box::pin((self.has_store)())).into();
                        }
                        pending.add(from, nonce);
                    }
                }
                Some(has_store) = &mut read, if !pending.is_empty() => {
                    last_success = has_store.then(Instant::now);
                    let requests = pending.take();
                    let Some(key) = (self.fence_key)() else { continue };
                    for (from, nonce) in requests {
                        self.respond(socket, &key, from, &nonce, has_store).await;
                    }
                }
            }
        }
    }

    async fn respond(
        &self,
        socket: &UdpSocket,
        key: &FenceKey,
        to: SocketAddr,
        nonce: &Nonce,
        has_store: bool,
    ) {
        let response = message::response(key, nonce, &self.me, has_store);
        if let Err(error) = socket.send_to(&response, to).await {
            tracing::debug!("responding to {to}: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
