//! Debian trees, created by mmdebstrap from the host's apt sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{require_success, show};

/// The release of Keelson's packages.
pub const SUITE: &str = "trixie";
const NO_RECOMMENDS: &str = "--aptopt=Apt::Install-Recommends \"false\"";

/// Returns the tree in `folder` with `packages` and their dependencies, created once per list of packages. Needs
/// root.
pub fn tree(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a Debian tree with its owners is made by root only");
    }
    let (tree, list) = (folder.join(SUITE), folder.join("packages"));
    let packages = packages.join(",");
    if tree.exists() && fs::read_to_string(&list).is_ok_and(|made_of| made_of == packages) {
        return Ok(tree);
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let unfinished = folder.join("unfinished");
    for old in [&tree, &unfinished] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", NO_RECOMMENDS, &format!("--include={packages}"), SUITE]);
    command.arg(&unfinished).args(sources(folder)?);
    let made = show(&mut command)
        .context("it is a package of Debian: apt-get install --no-install-recommends mmdebstrap")?;
    require_success(made).context("mmdebstrap")?;
    fs::rename(&unfinished, &tree).context("cannot name the tree")?;
    fs::write(&list, packages).with_context(|| format!("cannot write {}", list.display()))?;
    Ok(tree)
}

/// Copies the host's apt sources into `folder`, with [`SUITE`] in place of the host's release.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let host = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let host = host.context("/etc/os-release names no VERSION_CODENAME")?;
    let mut found = vec![PathBuf::from("/etc/apt/sources.list")];
    for entry in fs::read_dir("/etc/apt/sources.list.d").context("cannot list apt's sources")? {
        found.push(entry.context("cannot list apt's sources")?.path());
    }
    found.retain(|path| {
        path.is_file() && path.extension().is_some_and(|end| end == "list" || end == "sources")
    });
    let mut copies = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let copy = folder.join(path.file_name().context("a file has a name")?);
        fs::write(&copy, text.replace(host, SUITE))
            .with_context(|| format!("cannot write {}", copy.display()))?;
        copies.push(copy);
    }
    Ok(copies)
}
