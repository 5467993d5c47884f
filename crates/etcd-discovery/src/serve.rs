//! The listener: connections within their limits, and the clock that tokens expire by.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use etcd_http::tls::accept;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::limits::{GRACE, HEAD_TIMEOUT, MAX_CONNECTIONS, SYNC};
use crate::metrics::Metrics;
use crate::rate::Rates;
use crate::route;
use crate::service::{Service, Settings, Store, with_tokens};

/// Serves until `stop`; then answers that are being written get a moment, and watches end.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    settings: Settings,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let service = Arc::new(Service {
        store,
        settings,
        rates: Mutex::new(Rates::default()),
        metrics: Metrics::default(),
    });
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stopping, stopped) = watch::channel(false);
    let mut open = JoinSet::new();
    let mut tick = tokio::time::interval(SYNC);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = tick.tick() => sync(&service.store).await,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    // None left: the connection is closed at once.
                    let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
                    let connection = connection(stream, from, service.clone(), stopped.clone());
                    open.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, usually: the next tick comes first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tick.tick().await;
                }
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        open.abort_all();
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    service: Arc<Service>,
    stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let tls = service.settings.tls.clone();
    match tls {
        None => requests(stream, from, service, stopped).await,
        Some(tls) => {
            // Whoever is refused was told why.
            if let Some(stream) = accept(&tls, stream, from).await {
                requests(stream, from, service, stopped).await;
            }
        }
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    from: SocketAddr,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(route::answer(service, from.ip(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    // A sender that is gone means the same.
    let stop = async { stopped.wait_for(|stopped| *stopped).await.is_ok() };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "connection ended");
    }
}

async fn sync(store: &Store) {
    let Store::Own(tokens) = store else { return };
    let synced = with_tokens(tokens, |tokens| tokens.sync(SystemTime::now().into())).await;
    if let Err(error) = synced {
        tracing::error!(error = %causes::chain(&error), "cannot expire tokens");
    }
}
