//! The front over real connections: what the contract recorded from etcd, and what clients do to a server.

mod auth;
mod endpoints;
mod keys;
mod proxy;
mod script;
mod site;
mod sockets;
mod tls;
mod watches;
