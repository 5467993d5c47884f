//! Requests to the kernel over netlink, each with a deadline: devices, and the packet filter of nftables.
//!
//! This crate sends what it is asked for, and owns no entry: which devices, tables and rules a program may change is the
//! program's to decide.

#![warn(missing_docs)]

mod limits;
mod link;
pub mod nftables;
mod request;

pub use request::{RequestError, Requests};
