//! What the state keeps and accepts at most.

/// Events of the whole store that a watch can still ask for.
pub const HISTORY_EVENTS: usize = 1_000;
/// Names, URLs, roles and patterns in one command: no cluster has more.
pub const MAX_LIST_ITEMS: usize = 10_000;
