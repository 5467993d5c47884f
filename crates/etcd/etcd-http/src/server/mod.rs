//! Listeners and connections: HTTP/1.1 with limits, independent of keys.
//!
//! A client never holds more resources than the limits allow, and a started response is not aborted while the client
//! reads it.

mod accept;
mod connection;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod stop;
mod stream_response;
mod tracked_stream;

pub use accept::{BindError, Listener, Running, connection_limit, serve, serve_in_memory};
pub use handler::{Chunk, Chunks, Handler, Never, Payload, Peer, Piece, Reply, UpgradeFn, Upgraded};
