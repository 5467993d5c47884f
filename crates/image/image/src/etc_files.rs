//! Files of `/etc` that maintainer scripts and tools would create or leave.

use std::fs;
use std::path::Path;

use crate::tree::{PathContext, TreeError, walk, write_file};

/// The bundle that the script of ca-certificates would create.
pub fn bundle_certificates(tree: &Path) -> Result<(), TreeError> {
    let folder = tree.join("usr/share/ca-certificates");
    let mut bundle = Vec::new();
    for path in walk(&folder)? {
        if path.extension().is_some_and(|extension| extension == "crt") {
            let path = folder.join(path);
            bundle.extend(fs::read(&path).at(&path)?);
        }
    }
    write_file(&tree.join("etc/ssl/certs/ca-certificates.crt"), &bundle, 0o644)
}

/// Removes backups and locks of the tools that modified `/etc`.
pub fn remove_backups(tree: &Path) -> Result<(), TreeError> {
    for name in ["passwd-", "group-", "shadow-", "gshadow-", ".pwd.lock"] {
        let path = tree.join("etc").join(name);
        if path.exists() {
            fs::remove_file(&path).at(&path)?;
        }
    }
    Ok(())
}
