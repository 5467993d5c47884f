//! Conformance suite of etcd: cases, histories and load for every back end.
//!
//! It uses servers only over HTTP, as clients do, never their memory or files, and never reports a case as passed
//! that did not run.

pub mod backend;
pub mod case;
pub mod clients;
pub mod failure;
pub mod history;
pub mod http;
pub mod load;
pub mod run;
pub mod scenes;
