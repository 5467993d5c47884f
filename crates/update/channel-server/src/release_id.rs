//! Identifies a release and its folder.

use std::path::{Path, PathBuf};

use semver::Version;

/// Subfolder of a server's folder with the published releases.
pub const RELEASES: &str = "releases";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseId {
    pub app: String,
    pub arch: String,
    pub version: Version,
}

impl ReleaseId {
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.app).join(&self.arch).join(self.version.to_string())
    }
}
