//! `-listen-metrics-urls`: `/metrics` and `/health` of a front end, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;

use crate::limits;
use crate::response;
use crate::server::{Handler, Peer, Reply};

/// For addresses that monitoring may reach, but clients of the store may not.
#[derive(Debug)]
pub struct MetricsPort<H>(pub Arc<H>);

impl<H: Handler> Handler for MetricsPort<H> {
    type Chunks = H::Chunks;

    async fn handle(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Reply<H::Chunks> {
        match request.uri().path() {
            "/metrics" | "/health" => Arc::clone(&self.0).handle(peer, request).await,
            _ => Reply::Response(response::not_found()),
        }
    }

    /// Idle connections are closed, since their number is limited.
    fn idle_limit(&self) -> Option<Duration> {
        Some(limits::METRICS_IDLE_TIME)
    }
}
