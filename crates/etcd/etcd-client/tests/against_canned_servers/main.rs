//! The client against servers on loopback that play a script.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod canned;
mod fail_over;
mod members_and_users;
mod tls;
mod watching;
