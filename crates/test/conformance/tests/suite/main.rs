//! Conformance with etcd 2.3.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod histories;
mod reference;
