//! Messages of the update protocol.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::panic, clippy::unwrap_used)]

mod golden;
mod round_trip;
