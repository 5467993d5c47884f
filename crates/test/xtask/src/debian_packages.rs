//! Debian's packages, unpacked into a folder: installing one may start its service on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{Ended, require_success, show, show_and_read, target_folder};

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
        let query =
            || show_and_read(Command::new("apt-cache").arg("depends").args(DEPENDENCIES).arg("haproxy"));
        let listed = with_lists(query).context("apt-cache depends haproxy")?;
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

/// Downloads packages and unpacks them into `folder`, which exists only complete.
pub fn unpack(packages: &[&str], folder: &Path) -> Result<()> {
    let partial = folder.with_added_extension("part");
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    with_lists(|| show(Command::new("apt-get").arg("download").args(packages).current_dir(&partial)))
        .context("apt-get download")?;
    for entry in fs::read_dir(&partial).with_context(|| format!("cannot list {}", partial.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", partial.display()))?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            require_success(show(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&partial))?)
                .with_context(|| format!("cannot unpack {}", path.display()))?;
        }
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::rename(&partial, folder).with_context(|| format!("cannot rename {}", partial.display()))
}

/// Runs an apt command; if it fails, once more with new package lists, which may be outdated or missing.
fn with_lists(command: impl Fn() -> Result<Ended>) -> Result<Ended> {
    let ended = command()?;
    if ended.success {
        return Ok(ended);
    }
    update()?;
    require_success(command()?)
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
