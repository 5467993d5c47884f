//! `coreos-install` and the server that it installs from.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod bench;
mod channel;
mod install;
mod kept;
mod kernel_arguments;
