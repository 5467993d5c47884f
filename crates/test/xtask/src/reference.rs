//! Debian's etcd and etcdctl: the host's, or unpacked from their packages into a folder.
//!
//! They are never installed: the package would start a server on the host.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::target_folder;
use crate::debian_packages;

const PACKAGES: [&str; 2] = ["etcd-server", "etcd-client"];

#[derive(Debug)]
pub struct Reference {
    pub etcd: PathBuf,
    pub etcdctl: PathBuf,
}

impl Reference {
    /// Passes the server's path to tests and scenarios.
    pub const VARIABLE: &str = "KEELSON_REFERENCE_ETCD";

    /// In cargo's target folder, where the download is kept.
    pub fn of_target(root: &Path) -> Result<Self> {
        Self::find_or_fetch(&target_folder(root).join("conformance/debian"))
    }

    /// Fails with the reason if they are unavailable on this host.
    pub fn find_or_fetch(folder: &Path) -> Result<Self> {
        if let Some(found) = Self::below(Path::new("/")).or_else(|| Self::below(folder)) {
            return Ok(found);
        }
        debian_packages::unpack(&PACKAGES, folder).context("Debian's etcd cannot be fetched")?;
        Self::below(folder).context("Debian's packages brought no /usr/bin/etcd and etcdctl")
    }

    fn below(root: &Path) -> Option<Self> {
        let found = Self { etcd: root.join("usr/bin/etcd"), etcdctl: root.join("usr/bin/etcdctl") };
        (found.etcd.is_file() && found.etcdctl.is_file()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_programs_have_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Reference::below(folder.path()).is_none());
        let programs = folder.path().join("usr/bin");
        fs::create_dir_all(&programs).unwrap();
        fs::write(programs.join("etcd"), "").unwrap();
        assert!(Reference::below(folder.path()).is_none());
        fs::write(programs.join("etcdctl"), "").unwrap();
        assert_eq!(Reference::below(folder.path()).unwrap().etcd, programs.join("etcd"));
    }
}
