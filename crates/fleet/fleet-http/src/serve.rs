//! Serves connections, with a limit per listener.

use std::sync::Arc;

use http_server::{Excess, Limits, Shutdown};
use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::context::ApiContext;
use crate::journal::Cancellation;
use crate::limits;
use crate::listener::Listener;
use crate::route;
use crate::settings::Settings;
use crate::stream::Stream;
use crate::wire::Wire;

const LIMITS: Limits =
    Limits { connections: limits::MAX_CONNECTIONS, excess: Excess::Wait, grace: limits::SHUTDOWN_TIMEOUT };

/// Serves until `stop`. Then, followed journals end, and pending responses may complete within a timeout.
pub async fn serve<B: Backend>(
    listeners: Vec<Listener>,
    backend: Arc<B>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let context = Arc::new(ApiContext::new(backend, settings));
    let (shutdown_sender, shutdown) = Shutdown::new();
    let mut serving = JoinSet::new();
    for listener in listeners {
        match listener.open() {
            Ok(open) => {
                let (context, mut shutdown) = (context.clone(), shutdown.clone());
                serving.spawn(async move {
                    let each = |stream, (), shutdown| connection(Arc::new(stream), context.clone(), shutdown);
                    http_server::serve(open, LIMITS, shutdown.requested(), each).await;
                });
            }
            Err(error) => tracing::error!("Failed serving HTTP on listener: {error}"),
        }
    }
    stop.await;
    shutdown_sender.send_replace(true);
    while serving.join_next().await.is_some() {}
}

async fn connection<B: Backend>(stream: Arc<Stream>, context: Arc<ApiContext<B>>, shutdown: Shutdown) {
    let mut http = http_server::http1(limits::HEAD_TIMEOUT);
    // A client may close its sending side before it reads.
    http.max_buf_size(limits::HEAD_BYTES).half_close(true).title_case_headers(true);
    let wire = Wire::new(stream.clone());
    let handle = |request| {
        let cancellation = Cancellation { client: stream.clone(), shutdown: shutdown.clone() };
        route::handle(context.clone(), request, cancellation)
    };
    http_server::serve_requests(wire, &http, shutdown.clone(), handle).await;
}
