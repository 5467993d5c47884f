//! Settings of the server.

use std::path::PathBuf;

/// How the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Version of fleetd, for the `Server` header.
    pub version: String,
    /// Items per page; at least one.
    pub token_limit: u16,
    /// For status and journal.
    pub programs: Programs,
}

impl Settings {
    /// Uses the programs in `PATH`.
    pub fn new(version: &str, token_limit: u16) -> Self {
        Self { version: version.to_owned(), token_limit, programs: Programs::default() }
    }
}

/// Programs that read status and journal of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Run with `status`.
    pub systemctl: PathBuf,
    /// Run for the log of a unit.
    pub journalctl: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { systemctl: "systemctl".into(), journalctl: "journalctl".into() }
    }
}
