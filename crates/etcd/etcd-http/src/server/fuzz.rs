//! A connection that is no socket, for fuzzing. Not part of the library's interface.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::DuplexStream;

use super::connection::{Line, drive};
use super::handler::{Handler, Peer};
use super::stop::Stop;

/// Serves one connection to its end.
pub async fn serve_pipe<H: Handler>(stream: DuplexStream, handler: Arc<H>) {
    let peer = Peer { address: (Ipv4Addr::LOCALHOST, 1).into(), secure: false };
    drive(Line::new(stream, peer, handler, Arc::new(Stop::default()), None)).await;
}
