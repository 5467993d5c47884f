//! HTTP API of the cluster manager: maps requests to calls of a [`Backend`], and results to responses.
//!
//! This crate never makes scheduling decisions, never responds to a change before the backend has completed it, and
//! limits the resources of every client.

#![warn(missing_docs)]

mod additions;
mod backend;
mod body;
mod context;
mod journal;
mod limits;
mod listener;
mod machines;
mod original;
mod payload;
mod program;
mod put;
mod request;
mod response;
mod route;
mod routes;
mod serve;
mod settings;
mod states;
mod status;
mod stream;
mod units;
mod wire;

pub use backend::{Backend, Failure};
pub use listener::Listener;
pub use routes::{ADDITIONS, ORIGINAL, Route};
pub use serve::serve;
pub use settings::{Programs, Settings};
