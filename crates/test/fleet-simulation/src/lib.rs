//! Clusters of fleetds in one thread, under virtual time: machines with a stand-in for systemd, a network between them,
//! operators, faults, and a ledger that judges what ran where. The store is given: a model in memory ([`memory`]) for the
//! tests of `fleet-node`, whole members behind their HTTP front for this crate's own.
//!
//! For tests: what meets an error here has failed.

#![expect(clippy::unwrap_used, reason = "a test kit")]

mod about;
pub mod all_at_once;
mod lan;
mod ledger;
mod machine;
pub mod memory;
mod place;
mod store;
mod verdict;
mod world;

pub use about::About;
pub use ledger::Ledger;
pub use machine::{AUTO_RESTART, Machine};
pub use place::Place;
pub use store::{Link, Service};
pub use world::{Options, TTL, World};

/// One history, in this thread and under a time of its own, which jumps to the next thing that waits.
pub fn in_virtual_time<T>(history: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(history)
}
