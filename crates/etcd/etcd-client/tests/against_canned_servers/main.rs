//! Tests against scripted servers on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod canned;
mod fail_over;
mod members_and_users;
mod tls;
mod watching;
