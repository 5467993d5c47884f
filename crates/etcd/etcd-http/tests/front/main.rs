//! The front end over real connections: recorded responses of etcd, and behaviour of clients.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's own steps may fail it")]

mod auth;
mod endpoints;
mod failing;
mod idle;
mod keys;
mod openapi;
mod proxy;
mod script;
mod site;
mod sockets;
mod tls;
mod watches;
