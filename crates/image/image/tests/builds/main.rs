//! Builds whole images, well and under faults: `cargo verify image`.
//!
//! Each test is a user of the `keelson` program in a copy of this checkout; the node's programs are built once,
//! by cargo, in this checkout, and given to the copies. All that is written lies in one folder outside of the
//! checkout. They share a first build, so they run in one process.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod incremental;
mod interruptions;
mod looking;
mod mirror;
mod packages;
mod same_bytes;
mod workshop;
