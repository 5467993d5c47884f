//! Listening sockets and the limit of connections.
//!
//! Not `http-server`: a watch takes its connection over from hyper and then needs 1.7 KiB instead of 28, idle connections
//! release their buffers, and all listeners share one limit.

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

use super::connection::{ClientConnection, drive};
use super::handler::{Handler, Peer};
use super::stop::{Level, Stop};
use crate::limits;
use crate::tls::{self, ServerTls};

/// Listening on an address failed.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// A listening socket, with TLS for https URLs.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
}

impl Listener {
    /// Must be called in a tokio runtime.
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

    /// Takes over a bound socket. Accepted sockets inherit its options, which saves three system calls each.
    pub fn from_socket(socket: TcpListener, tls: Option<Arc<ServerTls>>) -> io::Result<Listener> {
        let reference = SockRef::from(&socket);
        reference.set_tcp_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(limits::KEEPALIVE_TIME).with_interval(limits::KEEPALIVE_TIME);
        reference.set_tcp_keepalive(&keepalive)?;
        Ok(Listener { socket, tls })
    }
}

/// Maximum number of connections: the file limit minus reserved files.
pub fn connection_limit() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let usable = files.map_or(u64::MAX, |files| files.saturating_sub(limits::RESERVED_FILES).max(1));
    usize::try_from(usable).unwrap_or(usize::MAX).min(limits::MAX_CONNECTIONS)
}

/// Handle of running listeners.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    accepting: Vec<JoinHandle<()>>,
    stop: Arc<Stop>,
    permits: Arc<Semaphore>,
    limit: u32,
}

/// Serves `handler` on all `listeners`, with at most `connections` concurrent connections in total.
pub fn serve<H: Handler>(
    listeners: Vec<Listener>,
    handler: Arc<H>,
    connections: usize,
) -> io::Result<Running> {
    let limit = u32::try_from(connections.clamp(1, limits::MAX_CONNECTIONS)).unwrap_or(u32::MAX);
    let permits = Arc::new(Semaphore::new(limit as usize));
    let stop = Arc::new(Stop::default());
    let mut addresses = Vec::new();
    let mut accepting = Vec::new();
    for listener in listeners {
        addresses.push(listener.socket.local_addr()?);
        let (handler, permits, stop) = (Arc::clone(&handler), Arc::clone(&permits), Arc::clone(&stop));
        accepting.push(tokio::spawn(async move {
            tokio::select! {
                () = accept(listener, handler, permits, Arc::clone(&stop)) => {}
                () = stop.reached(Level::Drain) => {}
            }
        }));
    }
    Ok(Running { addresses, accepting, stop, permits, limit })
}

impl Running {
    /// Local addresses in the order of the listeners, with the assigned ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        (self.limit as usize).saturating_sub(self.permits.available_permits())
    }

    /// Stops: accepts no connections, gives pending requests `grace`, and ends watches immediately. Returns the
    /// number of aborted connections.
    pub async fn stop(self, grace: Duration) -> usize {
        self.stop.raise(Level::Drain);
        for task in self.accepting {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener had failed");
            }
        }
        if timeout(grace, self.permits.acquire_many(self.limit)).await.is_ok() {
            return 0;
        }
        let cut = (self.limit as usize).saturating_sub(self.permits.available_permits());
        self.stop.raise(Level::Now);
        cut
    }
}

/// Serves one in-memory connection, as [`serve`] does for accepted ones.
pub async fn serve_in_memory<H: Handler>(stream: DuplexStream, peer: Peer, handler: Arc<H>) {
    drive(ClientConnection::new(stream, peer, handler, Arc::default(), None)).await;
}

async fn accept<H: Handler>(listener: Listener, handler: Arc<H>, permits: Arc<Semaphore>, stop: Arc<Stop>) {
    let mut pause = limits::ACCEPT_PAUSE.0;
    loop {
        // The permit comes first: clients beyond the limit wait in the kernel's backlog.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.socket.accept().await {
            Ok((stream, address)) => {
                pause = limits::ACCEPT_PAUSE.0;
                start(&listener, stream, address, permit, &handler, &stop);
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
    permit: OwnedSemaphorePermit,
    handler: &Arc<H>,
    stop: &Arc<Stop>,
) {
    let (handler, stop) = (Arc::clone(handler), Arc::clone(stop));
    let peer = Peer { address, secure: listener.tls.is_some() };
    match &listener.tls {
        None => {
            tokio::spawn(drive(ClientConnection::new(stream, peer, handler, stop, Some(permit))));
        }
        Some(tls) => {
            let tls = Arc::clone(tls);
            tokio::spawn(async move {
                // Boxed separately: the handshake's state is large, and is freed before the first request.
                let secured = Box::pin(tls::accept(&tls, stream, address)).await;
                if let Some(stream) = secured {
                    drive(ClientConnection::new(stream, peer, handler, stop, Some(permit))).await;
                }
            });
        }
    }
}
