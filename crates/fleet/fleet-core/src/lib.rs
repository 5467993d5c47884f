//! Decisions of the cluster manager: from facts about machines and units to tasks.
//!
//! Facts are values, decisions are lists of tasks, each with a reason. fleetd executes them, fleetctl prints them.
//! This crate must never access files, sockets or clocks: time is an argument.

pub mod agent;
pub mod failure_detector;
mod fence_key;
pub mod fencing;
mod job_state;
mod limits;
mod machine;
pub mod registry;
pub mod responses;
pub mod rollout;
pub mod schedule;
mod unit;

pub use fence_key::FenceKey;
pub use fleet_api::additions::{Refusal, RefusalScope, RefusedStep};
pub use job_state::{JobState, JobStateError};
pub use limits::{MEMORY_PER_UNIT_LOAD, UNIT_LOAD};
pub use machine::{Capacity, Cordon, Machine, MachineId};
pub use unit::Unit;
