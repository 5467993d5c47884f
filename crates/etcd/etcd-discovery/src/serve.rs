//! The listener: connections within their limits, and the clock that tokens expire by.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use etcd_http::tls::accept;
use http_server::{Limits, Shutdown, serve_requests};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::limits::{GRACE, HEAD_TIMEOUT, MAX_CONNECTIONS, SYNC};
use crate::metrics::Metrics;
use crate::rate::Rates;
use crate::route;
use crate::service::{Service, Settings, Store, with_tokens};

/// Serves until `stop`; then answers that are being written get a moment, and watches end.
pub async fn serve(listener: TcpListener, store: Store, settings: Settings, stop: impl Future<Output = ()>) {
    let service = Arc::new(Service {
        store,
        settings,
        rates: Mutex::new(Rates::default()),
        metrics: Metrics::default(),
    });
    let limits = Limits { connections: MAX_CONNECTIONS, grace: GRACE };
    let each = |stream, from, stopped| connection(stream, from, service.clone(), stopped);
    let (serving, ended) = oneshot::channel::<()>();
    let serve = async {
        http_server::serve(listener, limits, stop, each).await;
        drop(serving);
    };
    tokio::join!(serve, expire(&service.store, ended));
}

async fn connection(stream: TcpStream, from: SocketAddr, service: Arc<Service>, stopped: Shutdown) {
    let tls = service.settings.tls.clone();
    let answer = move |request| route::answer(service.clone(), from.ip(), request);
    match tls {
        None => serve_requests(stream, HEAD_TIMEOUT, stopped, answer).await,
        Some(tls) => {
            // Whoever is refused was told why.
            if let Some(stream) = accept(&tls, stream, from).await {
                serve_requests(stream, HEAD_TIMEOUT, stopped, answer).await;
            }
        }
    }
}

/// Until the other half of `ended` is gone. What was begun is finished: a flush goes on where nobody waits for it, and
/// the file would be in use after the end.
async fn expire(store: &Store, mut ended: oneshot::Receiver<()>) {
    let mut tick = tokio::time::interval(SYNC);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut ended => return,
            _ = tick.tick() => sync(store).await,
        }
    }
}

async fn sync(store: &Store) {
    let Store::Own(tokens) = store else { return };
    let synced = with_tokens(tokens, |tokens| tokens.sync(SystemTime::now().into())).await;
    if let Err(error) = synced {
        tracing::error!(error = %service::error::chain(&error), "cannot expire tokens");
    }
}
