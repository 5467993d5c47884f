//! Unit files.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod requirements;
mod text;
