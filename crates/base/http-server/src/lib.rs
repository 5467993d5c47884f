//! Connection handling of a small HTTP server: a connection limit, a header timeout, and a graceful shutdown.
//!
//! Independent of what is served. [`download`], [`mod@file`] and [`range`] are for servers of files.

#![warn(missing_docs)]

pub mod body;
pub mod download;
pub mod file;
pub mod range;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Pause after a failed accept, usually because there are no free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Concurrent connections.
    pub connections: usize,
    /// What happens to more of them.
    pub excess: Excess,
    /// How long responses in progress may take at shutdown.
    pub grace: Duration,
}

/// What happens to connections beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// They are closed immediately.
    Close,
    /// They wait in the kernel's queue.
    Wait,
}

/// A listening socket.
pub trait Listen {
    /// An accepted connection.
    type Stream;
    /// The address of its client.
    type Peer;

    /// The next connection. Cancel safe: a dropped future loses none.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, from) = TcpListener::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        Ok((stream, from))
    }
}

/// Notifies of the server's shutdown.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Also returns the sender, which notifies by `true` or when it is dropped.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns once the server shuts down.
    pub async fn requested(&mut self) {
        // A dropped sender means shutdown, too.
        if self.0.wait_for(|shutdown| *shutdown).await.is_err() {
            tracing::debug!("the server has stopped");
        }
    }
}

/// Accepts connections until `stop`, then waits for responses in progress within the grace period.
pub async fn serve<L: Listen, F: Future<Output = ()> + Send + 'static>(
    listener: L,
    limits: Limits,
    stop: impl Future<Output = ()>,
    connection: impl Fn(L::Stream, L::Peer, Shutdown) -> F,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (shutdown_sender, shutdown) = Shutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let next = async {
            let permit = match limits.excess {
                Excess::Wait => permits.clone().acquire_owned().await.ok(),
                Excess::Close => None,
            };
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = next => match accepted {
                Ok((stream, from)) => {
                    let permit = permit.or_else(|| permits.clone().try_acquire_owned().ok());
                    let Some(permit) = permit else { continue };
                    let connection = connection(stream, from, shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    shutdown_sender.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, drained).await.is_err() {
        tracing::warn!("connections are closed before their responses were read");
        connections.shutdown().await;
    }
}

/// HTTP/1 with a timeout of each request's header.
#[must_use]
pub fn http1(header_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    http
}

/// Serves the requests of one connection.
pub async fn serve_requests<S, F, B>(
    stream: S,
    http: &http1::Builder,
    mut shutdown: Shutdown,
    handle: impl Fn(Request<Incoming>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let response = handle(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
