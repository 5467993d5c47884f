//! Where one release belongs.

use std::path::{Path, PathBuf};

use semver::Version;

/// In a server's folder: releases that are whole.
pub const RELEASES: &str = "releases";

/// Application, architecture, version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub app: String,
    pub arch: String,
    pub version: Version,
}

impl Place {
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.app).join(&self.arch).join(self.version.to_string())
    }
}
