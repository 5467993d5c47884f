//! The store by its contract, and against a naive model.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod against_naive;
mod auth;
mod commands;
mod contract_table;
mod depth_and_expiration;
mod garbage;
mod naive;
