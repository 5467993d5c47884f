//! The front over real connections: what the contract recorded from etcd, and what clients do to a server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's own steps may fail it")]

mod auth;
mod endpoints;
mod idle;
mod keys;
mod proxy;
mod script;
mod site;
mod sockets;
mod tls;
mod watches;
