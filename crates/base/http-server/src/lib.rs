//! Connection handling of a small HTTP server: a connection limit, a header timeout, and a graceful shutdown.
//!
//! Independent of what is served.

#![warn(missing_docs)]

use std::convert::Infallible;
use std::future::Future;
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
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Concurrent connections; further ones are closed immediately.
    pub connections: usize,
    /// How long responses in progress may take at shutdown.
    pub grace: Duration,
}

/// Notifies connections of the server's shutdown.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    async fn wait(&mut self) {
        // A dropped sender means shutdown, too.
        if self.0.wait_for(|shutdown| *shutdown).await.is_err() {
            tracing::debug!("the server has stopped");
        }
    }
}

/// Accepts connections until `stop`, then waits for responses in progress within the grace period.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    limits: Limits,
    stop: impl Future<Output = ()>,
    connection: impl Fn(TcpStream, SocketAddr, Shutdown) -> F,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (shutdown_sender, shutdown) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    let connection = connection(stream, from, Shutdown(shutdown.clone()));
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
        connections.abort_all();
    }
}

/// Serves the requests of one connection; `header_timeout` applies to each request's header.
pub async fn serve_requests<S, F, B>(
    stream: S,
    header_timeout: Duration,
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
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.wait() => {
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
