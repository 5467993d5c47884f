//! Limits of the state.

/// Number of events in the history.
pub const HISTORY_EVENTS: usize = 1_000;
/// Maximum number of names, URLs, roles or patterns in a command.
pub const MAX_LIST_ITEMS: usize = 10_000;
