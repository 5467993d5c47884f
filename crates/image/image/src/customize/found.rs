//! What a file was customized with.

use serde::Serialize;

/// What is in a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Customization {
    /// Kernel arguments, in order.
    pub arguments: Vec<String>,
    /// In order of their paths.
    pub files: Vec<CustomFile>,
}

impl Customization {
    /// Whether the file has its original bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty() && self.files.is_empty()
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CustomFile {
    /// Path below the OEM files.
    pub path: String,
    pub bytes: u64,
    /// Of the content, in hex.
    pub sha256: String,
}
