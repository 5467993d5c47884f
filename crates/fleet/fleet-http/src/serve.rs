//! Accepts and serves connections, with a limit per listener.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::context::ApiContext;
use crate::journal::Cancellation;
use crate::limits;
use crate::listener::{AsyncListener, Listener};
use crate::route;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::stream::Stream;
use crate::wire::Wire;

/// Serves until `stop`. Then, followed journals end, and pending responses may complete within a timeout.
pub async fn serve<B: Backend>(
    listeners: Vec<Listener>,
    backend: Arc<B>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let context = Arc::new(ApiContext::new(backend, settings));
    let (shutdown_sender, shutdown) = Shutdown::new();
    let mut accept_tasks = JoinSet::new();
    for listener in listeners {
        match listener.open() {
            Ok(open) => {
                accept_tasks.spawn(accept(open, context.clone(), shutdown.clone()));
            }
            Err(error) => tracing::error!("Failed serving HTTP on listener: {error}"),
        }
    }
    stop.await;
    shutdown_sender.send_replace(true);
    let all = async { while accept_tasks.join_next().await.is_some() {} };
    if timeout(limits::SHUTDOWN_TIMEOUT, all).await.is_err() {
        tracing::warn!("connections are closed before their responses were read");
        accept_tasks.shutdown().await;
    }
}

/// Accepts until shutdown, then waits for the connections.
async fn accept<B: Backend>(listener: AsyncListener, context: Arc<ApiContext<B>>, shutdown: Shutdown) {
    let permits = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stop = shutdown.clone();
    loop {
        let next = async {
            // The permit comes first: further clients wait in the kernel's queue.
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop.requested() => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = next => match accepted {
                Ok(stream) => {
                    let connection = connection(Arc::new(stream), context.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::error!("Failed serving HTTP on listener: {error}");
                    sleep(limits::ACCEPT_RETRY_INTERVAL).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<B: Backend>(stream: Arc<Stream>, context: Arc<ApiContext<B>>, mut stop: Shutdown) {
    let wire = TokioIo::new(Wire::new(stream.clone()));
    let shutdown = stop.clone();
    let service = service_fn(move |request| {
        let cancellation = Cancellation { client: stream.clone(), shutdown: shutdown.clone() };
        let context = context.clone();
        async move { Ok::<_, Infallible>(route::handle(context, request, cancellation).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIMEOUT)
        .max_buf_size(limits::HEAD_BYTES)
        // A client may close its sending side before it reads.
        .half_close(true)
        .title_case_headers(true)
        .serve_connection(wire, service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
