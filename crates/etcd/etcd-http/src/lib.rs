//! The HTTP front of the key-value store: etcd v2's API for clients, over any [`Backend`].
//!
//! It turns requests into commands and reads, and outcomes into the bytes that etcd's clients know. It must never
//! decide what a command does (that is `etcd-store`), never answer a write before the back end did, and never log a
//! password or a value.

#![allow(clippy::result_large_err, reason = "refusals are answers: made and moved once, off the fast path")]

mod answer;
pub mod backend;
mod body;
mod context;
mod cors;
mod credentials;
mod event_texts;
mod front;
mod information;
mod keys;
pub mod limits;
pub mod local;
mod members;
mod metrics;
mod process;
pub mod proxy;
mod roles;
pub mod server;
mod statistics;
pub mod tls;
mod users;
mod v1;
mod watch;

pub use backend::Backend;
pub use context::{SetLogLevel, Settings};
pub use cors::Cors;
pub use front::{Front, PeerFront};
pub use local::Local;
pub use watch::WatchChunks;
