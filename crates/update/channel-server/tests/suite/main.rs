//! The channel server over real sockets.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::panic, clippy::unwrap_used)]

mod images;
mod openapi;
mod page;
mod publishing;
mod registration;
mod repository;
mod roots;
mod support;
mod updates;
