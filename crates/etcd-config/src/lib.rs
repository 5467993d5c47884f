//! What `etcd` is told and how it finds its cluster: flags, `ETCD_*` and files -> checked [`Config`]; ids; the
//! decision how to bootstrap; the client side of discovery.
//!
//! It must never read a file, ask a clock, resolve a name or open a socket: all of these are arguments, and
//! what is to be done comes out as values.

pub mod config;
pub mod limits;
pub mod url;

pub use config::Config;
pub use url::Url;
