//! Tests of the API over sockets with an in-memory cluster.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod any_request;
mod clients;
mod cluster;
mod functional;
mod limits;
mod openapi;
mod pages;
mod programs;
mod put;
mod server;
mod store;
mod table;
