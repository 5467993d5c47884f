//! The healthz server.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use http_server::{Excess, Limits};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use service::Stop;
use tokio::net::TcpListener;

const LIMITS: Limits = Limits { connections: 16, excess: Excess::Close, grace: Duration::from_secs(1) };
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `/healthz` at `address` until the daemon stops.
pub async fn start(address: SocketAddr, stop: Stop) -> Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("healthz: cannot listen on {address}"))?;
    tracing::info!("Start healthz server on {address}");
    tokio::spawn(http_server::serve(listener, LIMITS, stop.wait(), |stream, _, shutdown| async move {
        http_server::serve_requests(stream, &http_server::http1(HEADER_TIMEOUT), shutdown, respond).await;
    }));
    Ok(())
}

async fn respond(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "flanneld is running"),
        (_, "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, "use GET"),
        _ => (StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
