//! Tests against a fake systemd and bus in this process.

// Also outside of `#[test]` functions: this is test code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod events;
mod fake_systemd;
mod flow;
mod loading;
mod many;
mod stopping;
