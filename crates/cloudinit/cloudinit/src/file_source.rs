//! The content of a file that is fetched when a config is applied: from where, and what is said to the server.
//!
//! It asks nobody. Both may hold a password or a token, so that `Debug` must never show them.

use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Begins with `https://`.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSource(***)")
    }
}
