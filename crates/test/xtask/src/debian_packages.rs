//! Debian's packages, unpacked into a folder: installing one may start its service on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{require_success, show, show_and_read, target_folder};

/// Passes the folder of [`haproxy`] to the scenario of that name.
pub const HAPROXY: &str = "KEELSON_HAPROXY";
/// Options of `apt-cache depends` for what a package cannot run without.
const DEPENDENCIES: [&str; 8] = [
    "--recurse",
    "--no-recommends",
    "--no-suggests",
    "--no-conflicts",
    "--no-breaks",
    "--no-replaces",
    "--no-enhances",
    "--no-pre-depends",
];

/// Folder with haproxy, its libraries and busybox, in cargo's target folder, where the download is kept.
pub fn haproxy(root: &Path) -> Result<PathBuf> {
    let folder = target_folder(root).join("scenarios/haproxy");
    if !folder.join("usr/sbin/haproxy").is_file() {
        let mut query = Command::new("apt-cache");
        query.arg("depends").args(DEPENDENCIES).arg("haproxy");
        let listed = require_success(show_and_read(&mut query)?).context("apt-cache depends haproxy")?;
        let mut packages = vec!["haproxy", "busybox-static"];
        packages.extend(libraries(&listed.stdout));
        unpack(&packages, &folder).context("Debian's haproxy cannot be fetched")?;
    }
    Ok(folder)
}

/// The libraries among the packages that `apt-cache depends --recurse` prints without indentation.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter(|line| line.starts_with("lib"))
}

/// Downloads packages into `folder` and unpacks them there.
pub fn unpack(packages: &[&str], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let download = || show(Command::new("apt-get").arg("download").args(packages).current_dir(folder));
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
    fn libraries_are_told_from_other_packages() {
        let listed = "haproxy\n  Depends: libc6\n  Depends: adduser\nlibc6\n  Depends: libgcc-s1\nadduser\nlibgcc-s1\n";
        assert_eq!(libraries(listed).collect::<Vec<_>>(), ["libc6", "libgcc-s1"]);
    }
}
