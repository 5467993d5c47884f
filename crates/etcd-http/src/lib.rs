//! The HTTP front of the key-value store: etcd v2's API for clients, over any [`Backend`].
//!
//! It turns requests into commands and reads, and outcomes into the bytes that etcd's clients know. It must never
//! decide what a command does (that is `kv`), never answer a write before the back end did, and never log a
//! password or a value.

pub mod limits;
pub mod server;
pub mod tls;
