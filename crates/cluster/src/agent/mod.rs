//! What one machine has to do, so that what systemd has is what was asked of it.
//!
//! [`wanted`] says which units belong here, [`reconcile`] what to do about the difference. The order is the
//! original's: what leaves, what comes, one reload, what stops, what starts. A task that fails concerns its own
//! unit only: the others go on.
//!
//! No unit twice, the agent's half: before a unit is loaded, its state is published, so that a scheduler sees
//! who holds it; after that the target is read once more, and only where it still is this machine the unit is
//! started. The published state is removed only after systemd's stop job has ended. The scheduler's half is in
//! [`crate::schedule`]; [`crate::fencing`] is for machines that can not reach the store.

mod reconcile;
mod wanted;

pub use reconcile::{Found, Reason, Task, reconcile};
pub use wanted::{Hold, Wanted, wanted};
