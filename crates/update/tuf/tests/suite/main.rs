//! The library against a simulated repository: the cases of the public TUF conformance suite
//! (github.com/theupdateframework/tuf-conformance), the attacks that the specification lists, and python-tuf.
//!
//! A module or test has the name of the suite's file or case, without `test_`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attacks;
mod basic;
mod delegation_graphs;
mod expiration;
mod file_download;
mod key_rotations;
mod keys;
mod peer;
mod quoting_issues;
mod repository;
mod rollback;
mod simulator;
mod static_repositories;
