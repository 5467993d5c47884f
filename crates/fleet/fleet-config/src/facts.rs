//! What the program found before anything was decided: the whole input.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Without the program's own name.
    pub args: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// What [`crate::file_wanted`] names.
    pub file: File,
}

/// A file, as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum File {
    Text(String),
    /// There is none.
    #[default]
    Missing,
    /// There is one; why it cannot be read.
    Unreadable(String),
}
