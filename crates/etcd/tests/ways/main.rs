//! Real `etcd` processes and how they come to their cluster and their certificates, each in a network of the
//! test's own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod auto_tls;
mod process;
