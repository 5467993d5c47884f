//! API responses from the registry and the scheduler: units, states, machines, explanations and plans.
//!
//! Used by fleetd, and by fleetctl when it accesses the store directly. This module must never make a scheduling
//! decision.

mod explanation;
mod machines;
mod plan;
mod units;

pub use explanation::explanation;
pub use machines::machines;
pub use plan::{PlanError, plan, rebalance, relocations, scheduler};
pub use units::{listed_states, state, states, unit, units};
