//! The programs as processes: locksmithctl against an in-memory store, locksmithd on a private bus between
//! fakes of systemd, logind, the update engine, the cluster manager and a FleetLock server.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bus;
mod commands;
mod daemon;
mod machine;
mod server;
mod store;
mod units_away;
