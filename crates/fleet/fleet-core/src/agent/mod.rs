//! What one machine has to do, so that what systemd has is what was asked of it.
//!
//! [`desired`] says which units belong here, [`reconcile`] what to do about the difference. The order is the
//! original's: what leaves, what comes, one reload, what stops, what starts. A task that fails concerns its own
//! unit only: the others go on.
//!
//! No unit twice, the agent's half: before a unit is loaded or started, the machine says that it holds it, so that
//! a scheduler sees that; when it has seen that word come back, the target is looked at once more, and only where it
//! still is this machine it goes on. The published state is removed only after systemd's stop job has ended. The scheduler's half is in
//! [`crate::schedule`]; [`crate::fencing`] is for machines that cannot reach the store.

mod desired;
mod reconcile;

pub use desired::{DesiredUnit, Hold, desired_units};
pub use reconcile::{LocalUnit, Reason, Task, reconcile};
