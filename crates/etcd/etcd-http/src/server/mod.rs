//! Listeners, connections and their limits: bytes to requests and back.
//!
//! Knows HTTP/1.1 and nothing of keys. It must never let one client hold more than the limits give it, and never
//! drop an answer that it began while the client still reads.

mod accept;
mod connection;
mod follow;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod stop;
mod tracked;

pub use accept::{BindError, Listener, Running, connection_limit, serve, serve_in_memory};
pub use handler::{Chunk, Chunks, Handler, Never, Payload, Peer, Piece, Reply, TakeOver, Upgraded};
