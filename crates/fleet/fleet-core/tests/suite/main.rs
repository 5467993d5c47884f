//! Registry, agents and the scheduler.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod against_naive;
mod agent;
mod contract;
mod naive;
mod registry;
