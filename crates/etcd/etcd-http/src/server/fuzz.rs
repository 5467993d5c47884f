//! Serves an in-memory connection, for fuzzing. Not part of the public API.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::DuplexStream;

use super::connection::{ClientConnection, drive};
use super::handler::{Handler, Peer};
use super::stop::Stop;

/// Serves a connection until it ends.
pub async fn serve_pipe<H: Handler>(stream: DuplexStream, handler: Arc<H>) {
    let peer = Peer { address: (Ipv4Addr::LOCALHOST, 1).into(), secure: false };
    drive(ClientConnection::new(stream, peer, handler, Arc::new(Stop::default()), None)).await;
}
