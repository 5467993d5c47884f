//! The store as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod collecting;
mod containment;
mod docker_registry;
mod fake_server;
mod hostile_registry;
mod images;
mod importing;
mod processes;
mod unpacking;
