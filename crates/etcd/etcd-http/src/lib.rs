//! The HTTP front end of the key-value store: etcd's v2 API over any [`Backend`].
//!
//! It converts requests to commands and reads, and outcomes to etcd's responses. It never decides what a command does
//! (`etcd-store` does), never acknowledges a write before the back end did, and never logs a password or a value.

#![allow(clippy::result_large_err, reason = "refusals are answers: made and moved once, off the fast path")]

pub mod backend;
mod body;
mod context;
mod cors;
mod credentials;
mod event_cache;
mod fixed_paths;
mod front;
mod hosts;
mod information;
mod keys;
pub mod limits;
pub mod local;
mod members;
mod metrics;
mod metrics_port;
mod process;
pub mod proxy;
mod response;
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
pub use fixed_paths::{FIXED_PATHS, FixedPath};
pub use front::{Front, PeerFront};
pub use hosts::Hosts;
pub use local::Local;
pub use metrics_port::MetricsPort;
pub use watch::WatchChunks;
