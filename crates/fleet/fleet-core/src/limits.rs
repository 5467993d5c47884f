//! Limits and weights.

/// Load of a unit without resource requests, so that such units are counted, as in the original.
pub const UNIT_LOAD: u64 = 1000;
/// Requested bytes that weigh as much as one unit.
pub const MEMORY_PER_UNIT_LOAD: u64 = 1 << 30;
/// Length of an abbreviated machine id.
pub const SHORT_ID_LENGTH: usize = 8;
/// Moves per rebalancing.
pub const MAX_REBALANCE_MOVES: usize = 1000;
