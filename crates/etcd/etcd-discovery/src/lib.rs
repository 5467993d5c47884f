//! The discovery service: creates tokens and stores the members that register, compatible with discovery.etcd.io.
//!
//! `serve` is the complete service, so that other programs can host it. It connects only to the configured etcd, and
//! everything it stores is limited.

#![warn(missing_docs)]

mod body;
mod journal;
pub mod limits;
mod metrics;
mod page;
mod rate;
mod route;
mod serve;
mod service;
mod tokens;
mod upstream;

pub use journal::JournalError;
pub use serve::serve;
pub use service::{Settings, Store};
pub use tokens::Tokens;
pub use upstream::{Upstream, UpstreamConfigError};
