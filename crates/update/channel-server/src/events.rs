//! What happens, as it happens: Server-Sent Events for the page and for `curl`.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::body::{Answer, Body, failed};
use crate::limits::{HEARTBEAT, NEWS_PAUSE};
use crate::overview::overview;
use crate::server::Server;

/// The whole picture at once, and again whenever something changed.
pub fn follow(server: &Arc<Server>) -> Answer {
    let (send, pieces) = mpsc::channel(2);
    let shared = server.clone();
    if server.followers.available_permits() == 0 {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "too many follow already");
    }
    tokio::spawn(async move {
        let Ok(_place) = shared.followers.try_acquire() else { return };
        let mut news = shared.news();
        loop {
            news.borrow_and_update();
            let picture = overview(&shared.fleet.lock(), &shared.key_sets);
            if send.send(Ok(Bytes::from(format!("event: overview\ndata: {picture}\n\n")))).await.is_err() {
                return;
            }
            sleep(NEWS_PAUSE).await;
            // A heartbeat finds out who went away.
            while timeout(HEARTBEAT, news.changed()).await.is_err() {
                if send.send(Ok(Bytes::from_static(b": still here\n\n"))).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut answer = Response::new(Body::Stream { pieces, left: None });
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
