//! Which unit goes to which machine, and why.
//!
//! [`Scheduler`] is fed with facts and asked for a [`Scheduler::pass`]: a list of [`Task`]s. It keeps indices
//! between passes, so that a pass costs what has changed; the outcome is that of a new scheduler with the same
//! facts. It takes its own tasks for done; where they were not, the facts that come next say so.
//!
//! A machine is eligible for a unit where it is present and open, `MachineID`, `MachineMetadata` and the
//! limits fit, each `MachineOf` peer is there, and neither side's `Conflicts` names the other. Of these the
//! one is taken where the most waiting units that `MachineOf` binds to it fit, too, then that with the least load,
//! then the smallest id. Units are placed in the order of their names, each
//! follower as soon as its peers are. Nothing moves without need: only a lost machine, changed facts, `Replaces` or
//! [`crate::Cordon::Draining`] take a unit away, the last only together with what is bound to it.
//!
//! No unit twice: a unit that a present machine still holds is placed nowhere else, and one that a pass takes
//! off a present machine waits until a fact confirms that ([`Scheduler::set_unit`]), so that what the machine
//! said about holding it, up to that moment, was seen.

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
