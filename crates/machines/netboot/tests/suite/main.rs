//! The servers from the machines' view.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod http;
mod page;
mod support;
mod tftp;
