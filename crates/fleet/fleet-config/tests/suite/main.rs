//! fleetd's configuration.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod any_input;
mod configuration;
