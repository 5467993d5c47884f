//! `keelson` from the view of operators and scripts.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod cli;
mod customize;
mod cves;
mod install;
mod keys;
mod machines;
mod netboot;
mod qemu_network;
mod scenario;
mod support;
mod updates;
mod vagrantfile;
