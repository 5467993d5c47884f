//! The listener.

use std::sync::Arc;

use http_server::{Excess, Limits, http1, serve_requests};
use tokio::net::TcpListener;

use crate::http::route::route;
use crate::limits::{CONNECTIONS, GRACE, HEADER_TIMEOUT};
use crate::server::Server;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, server: Arc<Server>, stop: impl Future<Output = ()>) {
    let limits = Limits { connections: CONNECTIONS, excess: Excess::Wait, grace: GRACE };
    http_server::serve(listener, limits, stop, |stream, from, stopped| {
        let server = server.clone();
        async move {
            serve_requests(stream, &http1(HEADER_TIMEOUT), stopped, |request| {
                route(server.clone(), request, from.ip().to_canonical())
            })
            .await;
        }
    })
    .await;
}
