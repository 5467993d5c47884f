//! The discovery service over real sockets.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod secured;
mod service;
