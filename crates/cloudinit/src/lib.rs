//! Cloud-config as text, as checked config, and as a plan.
//!
//! User-data comes in as bytes and leaves as a list of steps with reasons (`docs` of the contract:
//! cloud-config). This crate is pure: it must never touch a file, a socket, a process or a clock, so that
//! the same input gives the same plan on a workstation, in a test and on a node.

pub mod limits;
pub mod yaml;
