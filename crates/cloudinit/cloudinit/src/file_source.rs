//! The remote content of a file: URL and request headers.
//!
//! This module does not do I/O. `Debug` must not print the values: both may contain passwords or tokens.

use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Starts with `https://`.
    pub url: String,
    /// Name and value.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSource(***)")
    }
}
