//! Keys on SoftHSM tokens. Each test has a folder of tokens of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod keys;
mod pins;
mod refusals;
mod roots;
mod tokens;
