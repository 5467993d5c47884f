//! The connections of a small HTTP server: so many at once, each head within its time, an end in order.
//!
//! It must know nothing of what is served.

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

/// Out of descriptors, usually: some are given back meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At once; one more is closed as it comes.
    pub connections: usize,
    /// At the end, answers that are being written get so long.
    pub grace: Duration,
}

/// Told to each connection when the server is to end.
#[derive(Debug, Clone)]
pub struct Stopped(watch::Receiver<bool>);

impl Stopped {
    async fn reached(&mut self) {
        // A sender that is gone means the same.
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            tracing::debug!("the server has ended");
        }
    }
}

/// Accepts until `stop`; then each connection's answer is finished, within the grace.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    limits: Limits,
    stop: impl Future<Output = ()>,
    connection: impl Fn(TcpStream, SocketAddr, Stopped) -> F,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut open = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else { continue };
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    let connection = connection(stream, from, Stopped(stopped.clone()));
                    open.spawn(async move {
                        connection.await;
                        drop(place);
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
    stopping.send_replace(true);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, all).await.is_err() {
        open.abort_all();
    }
}

/// Answers the requests of one connection; `head_time` is for the head of each.
pub async fn requests<S, F, B>(
    stream: S,
    head_time: Duration,
    mut stopped: Stopped,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped.reached() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
