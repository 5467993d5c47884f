//! How the server is set up.

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Of fleetd: each answer says it.
    pub version: String,
    /// Items on a page; at least one.
    pub token_limit: u16,
    pub programs: Programs,
}

impl Settings {
    /// With the machine's own programs.
    pub fn new(version: &str, token_limit: u16) -> Self {
        Self { version: version.to_owned(), token_limit, programs: Programs::default() }
    }
}

/// What is run to read statuses and journals of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    pub systemctl: PathBuf,
    pub journalctl: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { systemctl: "systemctl".into(), journalctl: "journalctl".into() }
    }
}
