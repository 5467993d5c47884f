//! The listener and state shared by all requests.

use std::sync::Arc;

use http_server::{Excess, Limits, http1, serve_requests};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::limits::{CONCURRENT_CHECKS, CONNECTIONS, GRACE, HEADER_TIMEOUT};
use crate::route;

/// Serves the page and the API until `stop` completes.
pub async fn serve(listener: TcpListener, stop: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(CONCURRENT_CHECKS));
    let limits = Limits { connections: CONNECTIONS, excess: Excess::Close, grace: GRACE };
    http_server::serve(listener, limits, stop, |stream, _, stopped| {
        let permits = permits.clone();
        async move {
            serve_requests(stream, &http1(HEADER_TIMEOUT), stopped, |request| {
                route::handle(request, permits.clone())
            })
            .await;
        }
    })
    .await;
}
