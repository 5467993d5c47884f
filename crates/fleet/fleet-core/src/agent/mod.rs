//! Decisions of a machine's agent: how to bring its units to the desired state.
//!
//! [`desired_units`] returns the units that belong on the machine, [`reconcile`] the tasks for the difference. The
//! order is the original's: unload, load, one reload, stop, start. A failed task affects its own unit only.
//!
//! How the agent ensures that no unit runs twice: before a unit is loaded or started, the machine publishes a claim,
//! waits until it has observed that write, and continues only if it still is the unit's target. The published state
//! is removed only after systemd's stop job has ended. The scheduler's part is in [`crate::schedule`];
//! [`crate::fencing`] covers machines that cannot reach the store.

mod desired;
mod reconcile;

pub use desired::{DesiredUnit, Hold, desired_units};
pub use reconcile::{LocalUnit, Reason, Task, reconcile};
