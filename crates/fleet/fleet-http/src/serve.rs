//! Connections, and how many there may be.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::front::Front;
use crate::journal::Ends;
use crate::limits;
use crate::listener::{Listener, Open};
use crate::route;
use crate::settings::Settings;
use crate::stop::Stopping;
use crate::stream::Stream;
use crate::wire::Wire;

/// Serves until `stop`; then answers that are being made get a moment, and followed journals end.
pub async fn serve<B: Backend>(
    listeners: Vec<Listener>,
    backend: Arc<B>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let front = Arc::new(Front::new(backend, settings));
    let (tell, stopping) = Stopping::new();
    let mut accepting = JoinSet::new();
    for listener in listeners {
        match listener.open() {
            Ok(open) => {
                accepting.spawn(accept(open, front.clone(), stopping.clone()));
            }
            Err(error) => tracing::error!("Failed serving HTTP on listener: {error}"),
        }
    }
    stop.await;
    tell.send_replace(true);
    let all = async { while accepting.join_next().await.is_some() {} };
    if timeout(limits::GRACE, all).await.is_err() {
        tracing::warn!("connections are closed before their answers were read");
        accepting.shutdown().await;
    }
}

/// Until the server ends, and then until its connections have.
async fn accept<B: Backend>(listener: Open, front: Arc<Front<B>>, stopping: Stopping) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stop = stopping.clone();
    loop {
        let next = async {
            // The place comes first: who finds none waits in the kernel's queue.
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = stop.reached() => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = next => match accepted {
                Ok(stream) => {
                    let connection = connection(Arc::new(stream), front.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::error!("Failed serving HTTP on listener: {error}");
                    sleep(limits::ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<B: Backend>(stream: Arc<Stream>, front: Arc<Front<B>>, mut stop: Stopping) {
    let wire = TokioIo::new(Wire::new(stream.clone()));
    let stopping = stop.clone();
    let service = service_fn(move |request| {
        let ends = Ends { client: stream.clone(), stopping: stopping.clone() };
        let front = front.clone();
        async move { Ok::<_, Infallible>(route::answer(front, request, ends).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::HEAD_BYTES)
        // A client that has said all may still read.
        .half_close(true)
        .title_case_headers(true)
        .serve_connection(wire, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.reached() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
