//! The API's answers from what the store says: units, states, machines, and what the scheduler makes of them.
//!
//! fleetd answers its clients so; fleetctl, where it works on the store itself, answers itself. This crate must never
//! decide anything that the scheduler decides.

mod explanation;
mod machines;
mod plan;
mod units;

pub use explanation::explanation;
pub use machines::machines;
pub use plan::{PlanError, plan, rebalance, relocations, scheduler};
pub use units::{listed_states, state, states, unit, units};
