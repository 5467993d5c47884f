//! Which version this is.

/// The version whose behaviour this is: `--version` says it, presences and the API's answers carry it.
pub const VERSION: &str = "1.0.0";
