//! Debian's etcd and etcdctl: the host's, or unpacked from their packages into a folder.
//!
//! They are never installed: the package would start a server on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{require_success, show, target_folder};

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
        fetch(folder).context("Debian's etcd cannot be fetched")?;
        Self::below(folder).context("Debian's packages brought no /usr/bin/etcd and etcdctl")
    }

    fn below(root: &Path) -> Option<Self> {
        let found = Self { etcd: root.join("usr/bin/etcd"), etcdctl: root.join("usr/bin/etcdctl") };
        (found.etcd.is_file() && found.etcdctl.is_file()).then_some(found)
    }
}

fn fetch(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let download = || show(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(folder));
    if !download()?.success {
        // The host's package lists may be outdated or missing.
        update()?;
        require_success(download()?).context("apt-get download")?;
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            require_success(show(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(folder))?)
                .with_context(|| format!("cannot unpack {}", path.display()))?;
        }
    }
    Ok(())
}

fn update() -> Result<()> {
    let mut command = Command::new("apt-get");
    if !nix::unistd::geteuid().is_root() {
        command = Command::new("sudo");
        command.args(["--non-interactive", "apt-get"]);
    }
    let ended = show(command.args(["--quiet", "update"]))?;
    if !ended.success {
        bail!("apt-get update did not succeed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
