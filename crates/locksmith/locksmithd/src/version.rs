//! Whose behaviour this is.

/// The version whose behaviour this is: scripts look at it.
pub const VERSION: &str = "0.6.2";
