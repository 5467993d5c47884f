//! The version of fleetd.

/// The version of fleet whose behaviour this is: printed by `--version`, published with the machine, and returned by
/// the API.
pub const VERSION: &str = "1.0.0";
