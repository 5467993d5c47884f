//! Simulation of clusters in one thread under virtual time: machines with a fake systemd, their network, operators,
//! faults, and a ledger that checks what runs where. The store is an argument: a model ([`memory`]) in the tests of
//! `fleet-node`, real etcd members in this crate's own.
//!
//! Test kit: errors panic.

#![expect(clippy::unwrap_used, reason = "a test kit")]

mod cluster;
mod convergence;
mod fake_systemd;
mod host;
mod lan;
mod ledger;
pub mod mass_start;
pub mod memory;
mod request_kind;
mod store;

pub use cluster::{Cluster, Options, TTL};
pub use fake_systemd::{AUTO_RESTART, FakeSystemd};
pub use host::Host;
pub use ledger::Ledger;
pub use request_kind::RequestKind;
pub use store::{Link, Service};

/// Runs a history in this thread under virtual time.
pub fn in_virtual_time<T>(history: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(history)
}
