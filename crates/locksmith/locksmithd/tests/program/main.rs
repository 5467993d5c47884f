//! The programs as processes: locksmithctl against a store in memory, locksmithd on a bus of its own between stand-ins
//! of systemd, logind, the update agent, the cluster manager and a FleetLock server.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bus;
mod commands;
mod daemon;
mod machine;
mod server;
mod store;
mod units_away;
