//! Output and exit codes of the program, against a server with the contract's API.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod cases;
mod etcd;
mod forward;
mod model;
mod program;
mod put;
mod requests;
mod server;
mod shells;
mod ssh;
mod sshd;
mod transport;
