//! Builds whole images, also under faults: `cargo verify image`.
//!
//! Each test uses the `keelson` program in a copy of this checkout. The node's programs are built once in this
//! checkout and copied. All output is in one folder outside of the checkout. The tests share a first build, so they
//! run in one process.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod formats;
mod harness;
mod incremental;
mod interruptions;
mod mirror;
mod packages;
mod same_bytes;
mod toolbox;
mod verify_and_diff;
mod vulnerabilities;
