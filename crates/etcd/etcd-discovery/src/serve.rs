//! The listener: connections with limits, and expiration of tokens.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use etcd_http::tls::accept;
use http_server::{Excess, Limits, Shutdown, http1, serve_requests};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::limits::{EXPIRE_INTERVAL, HEAD_TIMEOUT, MAX_CONNECTIONS, SHUTDOWN_GRACE};
use crate::metrics::Metrics;
use crate::rate::RateLimiter;
use crate::route;
use crate::service::{Service, Settings, Store, with_tokens};

/// Serves until `stop`. Then pending responses get a grace period, and watches end.
///
/// # Errors
/// None in practice: the metrics have valid names.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    settings: Settings,
    stop: impl Future<Output = ()>,
) -> Result<(), prometheus::Error> {
    let service = Arc::new(Service {
        store,
        settings,
        rate_limiter: Mutex::new(RateLimiter::default()),
        metrics: Metrics::new()?,
    });
    let limits = Limits { connections: MAX_CONNECTIONS, excess: Excess::Close, grace: SHUTDOWN_GRACE };
    let each = |stream, from, stopped| connection(stream, from, service.clone(), stopped);
    let (serving, ended) = oneshot::channel::<()>();
    let serve = async {
        http_server::serve(listener, limits, stop, each).await;
        drop(serving);
    };
    tokio::join!(serve, expire(&service.store, ended));
    Ok(())
}

async fn connection(stream: TcpStream, from: SocketAddr, service: Arc<Service>, stopped: Shutdown) {
    let tls = service.settings.tls.clone();
    let handle = move |request| route::handle(service.clone(), from.ip(), request);
    match tls {
        None => serve_requests(stream, &http1(HEAD_TIMEOUT), stopped, handle).await,
        Some(tls) => {
            // `accept` logs failed handshakes.
            if let Some(stream) = accept(&tls, stream, from).await {
                serve_requests(stream, &http1(HEAD_TIMEOUT), stopped, handle).await;
            }
        }
    }
}

/// Expires tokens until the other half of `ended` is dropped. A started pass is finished: its flush cannot be
/// cancelled, and the file would remain in use.
async fn expire(store: &Store, mut ended: oneshot::Receiver<()>) {
    let mut tick = tokio::time::interval(EXPIRE_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut ended => return,
            _ = tick.tick() => sync(store).await,
        }
    }
}

async fn sync(store: &Store) {
    let Store::Local(tokens) = store else { return };
    let synced = with_tokens(tokens, |tokens| tokens.sync(SystemTime::now().into())).await;
    if let Err(error) = synced {
        tracing::error!(error = %service::error::chain(&error), "cannot expire tokens");
    }
}
