//! `etcd` processes under faults: acknowledged writes are kept, histories are linearizable, watches are complete.
//!
//! The short run has fixed seeds; the soak tests (`cargo verify --all soaks`) have many. docs/reliability.md lists
//! the tests of each promise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod backup;
mod damaged;
mod full_disk;
mod killed;
mod measured;
mod members;
mod partitioned;
mod paused;
mod setting;
mod stopped;
