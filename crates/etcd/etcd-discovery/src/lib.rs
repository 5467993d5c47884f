//! The discovery service: hands out tokens and keeps who registered with them, as discovery.etcd.io did.
//!
//! `serve` is the whole of it, so that other programs can host one. It never follows what a client sends
//! anywhere but to the etcd it was told of, and it keeps nothing without a limit.

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
pub use upstream::{Upstream, UpstreamSettingError};
