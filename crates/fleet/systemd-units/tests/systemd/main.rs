//! Units against a systemd that is made for it: its bus and its manager, in this process, over pairs of sockets.

// Outside of `#[test]` functions too: this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod events;
mod fake_systemd;
mod flow;
mod loading;
mod many;
mod stopping;
