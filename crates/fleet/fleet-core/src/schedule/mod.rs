//! Assigns units to machines, with reasons.
//!
//! [`Scheduler`] receives facts and returns [`Task`]s from [`Scheduler::pass`]. Indices are kept between passes, so
//! that a pass costs what has changed; its result equals that of a new scheduler with the same facts. Tasks are
//! assumed to succeed; if not, the following facts correct this.
//!
//! A machine is eligible for a unit if it is present and not cordoned, `MachineID`, `MachineMetadata` and limits fit,
//! each `MachineOf` peer is there, and neither side's `Conflicts` matches the other. Preferred is the machine where
//! most waiting peers fit, then the one with the least load, then the smallest id. Units are placed by name,
//! followers as soon as their peers are. Only a failed machine, changed facts, `Replaces` or
//! [`crate::Cordon::Draining`] move a unit; draining moves peers together.
//!
//! How the scheduler ensures that no unit runs twice: a unit that a present machine holds is placed nowhere else, and
//! a unit that was unscheduled from a present machine waits for a confirming fact ([`Scheduler::set_unit`]), so that
//! all claims of that machine up to that moment were observed.

mod accounting;
mod eligibility;
mod explain;
mod globals;
mod pass;
mod patterns;
mod peer_group;
mod plan;
mod rebalance;
mod scheduler;
mod task;

pub use eligibility::Obstacle;
pub use explain::{Candidate, Explanation, Placement};
pub use plan::Plan;
pub use rebalance::Relocation;
pub use scheduler::Scheduler;
pub use task::{Reason, Task};
