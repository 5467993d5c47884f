//! The API, over sockets, before a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod any_request;
mod clients;
mod cluster;
mod functional;
mod pages;
mod programs;
mod put;
mod rude;
mod server;
mod store;
mod table;
