//! Listening sockets, and how many connections they may have at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connection::{Line, drive};
use super::handler::{Handler, Peer};
use super::stop::{Level, Stop};
use crate::limits;
use crate::tls::{self, ServerTls};

/// A socket that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// A listening socket, with TLS where its URL is https.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
}

impl Listener {
    /// Must be called inside of a tokio runtime.
    pub fn bind(address: SocketAddr, tls: Option<Arc<ServerTls>>) -> Result<Listener, BindError> {
        let make = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(limits::BACKLOG)?;
            TcpListener::from_std(socket.into())
        };
        let socket = make().map_err(|source| BindError { address, source })?;
        Listener::from_socket(socket, tls).map_err(|source| BindError { address, source })
    }

    /// Takes a socket over that somebody else bound. Accepted sockets inherit its options, which spares three
    /// system calls for each.
    pub fn from_socket(socket: TcpListener, tls: Option<Arc<ServerTls>>) -> io::Result<Listener> {
        let reference = SockRef::from(&socket);
        reference.set_tcp_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(limits::KEEPALIVE_TIME).with_interval(limits::KEEPALIVE_TIME);
        reference.set_tcp_keepalive(&keepalive)?;
        Ok(Listener { socket, tls })
    }
}

/// How many connections this process may have: its file limit minus what it needs itself.
pub fn connection_limit() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let usable = files.map_or(u64::MAX, |files| files.saturating_sub(limits::RESERVED_FILES).max(1));
    usize::try_from(usable).unwrap_or(usize::MAX).min(limits::MOST_CONNECTIONS)
}

/// Listeners at work.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    accepting: Vec<JoinHandle<()>>,
    stop: Arc<Stop>,
    places: Arc<Semaphore>,
    limit: u32,
}

/// Serves `handler` on all `listeners`, with at most `connections` at once over all of them.
pub fn serve<H: Handler>(
    listeners: Vec<Listener>,
    handler: Arc<H>,
    connections: usize,
) -> io::Result<Running> {
    let limit = u32::try_from(connections.clamp(1, limits::MOST_CONNECTIONS)).unwrap_or(u32::MAX);
    let places = Arc::new(Semaphore::new(limit as usize));
    let stop = Arc::new(Stop::default());
    let mut addresses = Vec::new();
    let mut accepting = Vec::new();
    for listener in listeners {
        addresses.push(listener.socket.local_addr()?);
        let (handler, places, stop) = (Arc::clone(&handler), Arc::clone(&places), Arc::clone(&stop));
        accepting.push(tokio::spawn(async move {
            tokio::select! {
                () = accept(listener, handler, places, Arc::clone(&stop)) => {}
                () = stop.reached(Level::Drain) => {}
            }
        }));
    }
    Ok(Running { addresses, accepting, stop, places, limit })
}

impl Running {
    /// Where it listens, in the order of the listeners: a port of 0 has become a real one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connections at this moment.
    pub fn connections(&self) -> usize {
        (self.limit as usize).saturating_sub(self.places.available_permits())
    }

    /// Ends it: no new connections; requests in flight get `grace` to be answered, watches end at once. Gives
    /// the number of connections that were cut.
    pub async fn stop(self, grace: Duration) -> usize {
        self.stop.raise(Level::Drain);
        for task in self.accepting {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener had failed");
            }
        }
        if timeout(grace, self.places.acquire_many(self.limit)).await.is_ok() {
            return 0;
        }
        let cut = (self.limit as usize).saturating_sub(self.places.available_permits());
        self.stop.raise(Level::Now);
        cut
    }
}

/// Serves one connection in memory to its end, as [`serve`] does those that it accepts.
pub async fn serve_in_memory<H: Handler>(stream: DuplexStream, peer: Peer, handler: Arc<H>) {
    drive(Line::new(stream, peer, handler, Arc::default(), None)).await;
}

async fn accept<H: Handler>(listener: Listener, handler: Arc<H>, places: Arc<Semaphore>, stop: Arc<Stop>) {
    let mut pause = limits::ACCEPT_PAUSE.0;
    loop {
        // The place comes first: clients beyond the limit wait in the kernel's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.socket.accept().await {
            Ok((stream, address)) => {
                pause = limits::ACCEPT_PAUSE.0;
                start(&listener, stream, address, place, &handler, &stop);
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection; trying again in {pause:?}");
                sleep(pause).await;
                pause = (pause * 2).min(limits::ACCEPT_PAUSE.1);
            }
        }
    }
}

fn start<H: Handler>(
    listener: &Listener,
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    handler: &Arc<H>,
    stop: &Arc<Stop>,
) {
    let (handler, stop) = (Arc::clone(handler), Arc::clone(stop));
    let peer = Peer { address, secure: listener.tls.is_some() };
    match &listener.tls {
        None => {
            tokio::spawn(drive(Line::new(stream, peer, handler, stop, Some(place))));
        }
        Some(tls) => {
            let tls = Arc::clone(tls);
            tokio::spawn(async move {
                // Its own box: the handshake's state is large, and freed before the first request.
                let secured = Box::pin(tls::accept(&tls, stream, address)).await;
                if let Some(stream) = secured {
                    drive(Line::new(stream, peer, handler, stop, Some(place))).await;
                }
            });
        }
    }
}
