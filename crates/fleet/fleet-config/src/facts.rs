//! The inputs of the configuration.

use std::collections::BTreeMap;

/// What the process is given.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Without the program name.
    pub args: Vec<String>,
    /// Environment variables by name.
    pub environment: BTreeMap<String, String>,
    /// The file at [`crate::config_path`].
    pub file: File,
}

/// Result of reading the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum File {
    /// Its contents.
    Text(String),
    /// There is none.
    #[default]
    Missing,
    /// The file exists but reading it failed with this error.
    Unreadable(String),
}
