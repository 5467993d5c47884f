//! The listener, and what is done beside the requests.

use std::sync::Arc;

use http_server::{Limits, serve_requests};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::{CONNECTIONS, FLUSH, FORGET, GRACE, HEAD_TIME, TICK};
use crate::route::route;
use crate::server::{Server, now};

/// Serves until `stop`; what changed is on disk then.
pub async fn serve(server: Arc<Server>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let limits = Limits { connections: CONNECTIONS, grace: GRACE };
    let shared = server.clone();
    let beside = tokio::spawn(async move { keep_going(&shared).await });
    http_server::serve(listener, limits, stop, |stream, from, stopped| {
        let server = server.clone();
        async move {
            serve_requests(stream, HEAD_TIME, stopped, |request| route(server.clone(), request, from.ip()))
                .await;
        }
    })
    .await;
    beside.abort();
    server.flush().await;
}

async fn keep_going(server: &Server) {
    let mut timers = [FLUSH, TICK, FORGET].map(interval);
    for timer in &mut timers {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let [flush, tick, forget] = &mut timers;
    loop {
        tokio::select! {
            _ = flush.tick() => server.flush().await,
            _ = tick.tick() => server.tick().await,
            _ = forget.tick() => {
                let urgent = {
                    let mut fleet = server.fleet.lock();
                    fleet.forget(now());
                    server.changed(&mut fleet)
                };
                // Usually empty: removals are not urgent.
                if let Err(error) = server.keep(urgent).await {
                    tracing::error!(%error, "removed machines are still on disk");
                }
            }
        }
    }
}
