//! What may not grow without end, and constants of choice.

/// Load of a unit that requests nothing: such units are counted, as in the original.
pub const UNIT_LOAD: u64 = 1000;
/// How many bytes of requested memory weigh as much as a unit.
pub const MEMORY_PER_UNIT_LOAD: u64 = 1 << 30;
/// How many characters of a machine's id stand for it.
pub const SHORT_ID_LENGTH: usize = 8;
/// Moves of one rebalancing.
pub const MAX_REBALANCE_MOVES: usize = 1000;
