//! The decisions of an update, without I/O: whether to accept an offer, which slot it goes to, the order of writes,
//! what a failed boot means, and when to check again.
//!
//! Input: the disk's slots, the boot entries, the server's response, the time. Output: a plan, or an error with its
//! reason.

#![warn(missing_docs)]

pub mod conf;
pub mod entry;
pub mod freshness;
pub mod method;
pub mod repository;
pub mod roots;
pub mod schedule;
pub mod slots;
pub mod status;
pub mod trust;
