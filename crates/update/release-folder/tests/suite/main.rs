//! Release folders, and root metadata of other programs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod peer;
mod tree;
