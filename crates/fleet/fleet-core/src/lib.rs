//! The cluster manager's decisions: what is known of machines and units, and what follows from it.
//!
//! Facts come in as values, decisions leave as lists of tasks, each with its reason; fleetd carries them out,
//! and fleetctl prints them. This crate must never touch a file, a socket or a clock: time is an argument.

pub mod agent;
pub mod failure_detector;
pub mod fencing;
mod job_state;
mod limits;
mod machine;
pub mod registry;
pub mod responses;
pub mod rollout;
pub mod schedule;
mod unit;

pub use fleet_api::additions::{Refusal, RefusalScope, RefusedStep};
pub use job_state::{JobState, JobStateError};
pub use limits::{MEMORY_PER_UNIT_LOAD, UNIT_LOAD};
pub use machine::{Capacity, Cordon, Machine, MachineId};
pub use unit::Unit;
