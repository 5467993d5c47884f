//! The validator's page and API.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod api;
mod page;
mod support;
