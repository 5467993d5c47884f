//! The listener and what its requests share.

use std::sync::Arc;

use http_server::{Limits, requests};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::limits::{AT_ONCE, CONNECTIONS, GRACE, HEAD_TIME};
use crate::route;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let limits = Limits { connections: CONNECTIONS, grace: GRACE };
    http_server::serve(listener, limits, stop, |stream, _, stopped| {
        let places = places.clone();
        async move {
            requests(stream, HEAD_TIME, stopped, |request| route::answer(request, places.clone())).await;
        }
    })
    .await;
}
