//! Live updates as Server-Sent Events, for the page and for `curl`.

use std::sync::Arc;

use bytes::Bytes;
use http_server::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::body::{HttpResponse, error_response};
use crate::limits::{EVENT_INTERVAL, HEARTBEAT};
use crate::overview::overview;
use crate::server::Server;

/// Sends the overview immediately, and again after each change.
pub fn subscribe(server: &Arc<Server>) -> HttpResponse {
    let (send, chunks) = mpsc::channel(2);
    let shared = server.clone();
    if server.subscribers.available_permits() == 0 {
        return error_response(StatusCode::SERVICE_UNAVAILABLE, "too many event streams");
    }
    tokio::spawn(async move {
        let Ok(_permit) = shared.subscribers.try_acquire() else { return };
        let mut changes = shared.changes();
        loop {
            changes.borrow_and_update();
            let overview_json = overview(&shared.state.lock(), &shared);
            if send
                .send(Ok(Bytes::from(format!("event: overview\ndata: {overview_json}\n\n"))))
                .await
                .is_err()
            {
                return;
            }
            sleep(EVENT_INTERVAL).await;
            // The heartbeat detects closed connections.
            while timeout(HEARTBEAT, changes.changed()).await.is_err() {
                if send.send(Ok(Bytes::from_static(b": still here\n\n"))).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut response = Response::new(Body::Stream { chunks, remaining: None });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
