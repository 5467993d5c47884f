//! `fleetd` as systemd runs it.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod boot;
mod unit_file;
