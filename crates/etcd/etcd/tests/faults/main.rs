//! Real `etcd` processes under faults: what was acknowledged is kept, histories are linearizable, watches whole.
//!
//! The short run has fixed seeds; the tests named soak (`cargo verify --all soaks`) go through many. docs/reliability.md
//! says which test holds which promise.

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
