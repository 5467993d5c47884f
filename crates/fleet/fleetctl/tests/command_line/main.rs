//! The program as scripts see it: what it prints where, and its exit code, beside a server that keeps state like the
//! contract's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod cases;
mod etcd;
mod forward;
mod listed;
mod model;
mod program;
mod put;
mod server;
mod shells;
mod ssh;
mod sshd;
mod transport;
