//! Clusters of fleetds in one thread, under virtual time: machines with a stand-in for systemd, a network between them,
//! operators, faults, and a ledger that judges what ran where. The store is given: a model in memory ([`memory`]) for the
//! tests of `fleet-node`, whole members behind their HTTP front for this crate's own.
//!
//! For tests: what meets an error here has failed.

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

/// One history, in this thread and under a time of its own, which jumps to the next thing that waits.
pub fn in_virtual_time<T>(history: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(history)
}
