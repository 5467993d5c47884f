//! The decisions of a rollout, from the view of machines and operators.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::panic, clippy::unwrap_used)]

mod counts;
mod declined;
mod floors;
mod grants;
mod invariants;
mod limits;
mod packages;
mod pauses;
mod registration;
mod support;
mod unknown_machines;
