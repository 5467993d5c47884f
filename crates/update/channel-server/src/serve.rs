//! The listener and the periodic tasks.

use std::sync::Arc;

use http_server::{Excess, Limits, http1, serve_requests};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::{CONNECTIONS, FLUSH_INTERVAL, FORGET_INTERVAL, GRACE, HEADER_TIMEOUT, TICK_INTERVAL};
use crate::route::route;
use crate::server::{Server, now};

/// Serves until `stop` completes. All changes are on disk on return.
pub async fn serve(server: Arc<Server>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let limits = Limits { connections: CONNECTIONS, excess: Excess::Close, grace: GRACE };
    let shared = server.clone();
    let background = tokio::spawn(async move { run_timers(&shared).await });
    http_server::serve(listener, limits, stop, |stream, from, stopped| {
        let server = server.clone();
        async move {
            serve_requests(stream, &http1(HEADER_TIMEOUT), stopped, |request| {
                route(server.clone(), request, from.ip())
            })
            .await;
        }
    })
    .await;
    background.abort();
    server.flush().await;
}

async fn run_timers(server: &Server) {
    let mut timers = [FLUSH_INTERVAL, TICK_INTERVAL, FORGET_INTERVAL].map(interval);
    for timer in &mut timers {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let [flush, tick, forget] = &mut timers;
    loop {
        tokio::select! {
            _ = flush.tick() => server.flush().await,
            _ = tick.tick() => server.tick().await,
            _ = forget.tick() => {
                let pending = {
                    let mut state = server.state.lock();
                    state.forget(now());
                    server.stage_changes(&mut state)
                };
                // Usually empty: removals are not urgent.
                if let Err(error) = server.commit(pending).await {
                    tracing::error!(%error, "cannot remove machines from the database");
                }
            }
        }
    }
}
