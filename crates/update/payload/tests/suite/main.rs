//! Payloads: written, applied, damaged.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod disk;
mod hostile;
mod index;
mod kit;
mod resume;
mod round;
mod verity;
