//! What a change touches: the files that differ from the commit in `.ci/verified`, and the packages that depend on them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Holds the commit of the last green CI run. Every update of it moves the rotation on by one slice.
pub const RECORD: &str = ".ci/verified";
/// A change below these may change any program.
const EVERYTHING: [&str; 5] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", ".cargo/", "os/packages"];

/// What differs from the recorded commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// The record is missing, names no commit of this clone, or a file was changed on which everything depends.
    Everything(String),
    Some {
        files: BTreeSet<PathBuf>,
        /// The packages of these files, and all that depend on them.
        packages: BTreeSet<String>,
    },
}

/// The part of the system that a check exercises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Packages; what they depend on belongs to the area.
    pub packages: &'static [&'static str],
    /// Files and folders below the checkout.
    pub paths: &'static [&'static str],
}

impl Touched {
    /// Compares the working tree with the recorded commit.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        let root = &workspace.root;
        let Ok(record) = std::fs::read_to_string(root.join(RECORD)) else {
            return Ok(Self::Everything(format!("{RECORD} is missing")));
        };
        let commit = record.trim();
        if git(root, &["cat-file", "-e", &format!("{commit}^{{commit}}")])?.is_none() {
            return Ok(Self::Everything(format!("this clone has no commit {commit:?} ({RECORD})")));
        }
        let changed = git(root, &["diff", "--name-only", commit])?;
        let new = git(root, &["ls-files", "--others", "--exclude-standard"])?;
        let files = changed.iter().chain(&new).flat_map(|text| text.lines()).map(PathBuf::from).collect();
        Ok(Self::of_files(files, workspace))
    }

    fn of_files(files: BTreeSet<PathBuf>, workspace: &Workspace) -> Self {
        let whole = |file: &Path| EVERYTHING.iter().any(|prefix| is_below(file, prefix));
        if let Some(file) = files.iter().find(|file| whole(file)) {
            return Self::Everything(format!("{} changed", file.display()));
        }
        let owner = |file: &PathBuf| workspace.package_of(file).map(|package| package.name.clone());
        let mut packages: BTreeSet<String> = files.iter().filter_map(owner).collect();
        loop {
            let depends = |package: &&crate::workspace::Package| {
                package.dependencies.iter().any(|dependency| packages.contains(&dependency.name))
            };
            let found: Vec<_> = workspace
                .packages
                .iter()
                .filter(|package| !packages.contains(&package.name))
                .filter(depends)
                .map(|package| package.name.clone())
                .collect();
            if found.is_empty() {
                return Self::Some { files, packages };
            }
            packages.extend(found);
        }
    }

    pub fn touches(&self, area: Area) -> bool {
        match self {
            Self::Everything(_) => true,
            Self::Some { files, packages } => {
                area.packages.iter().any(|package| packages.contains(*package))
                    || files.iter().any(|file| area.paths.iter().any(|path| is_below(file, path)))
            }
        }
    }
}

fn is_below(file: &Path, prefix: &str) -> bool {
    match prefix.strip_suffix('/') {
        Some(folder) => file.starts_with(folder),
        None => file.starts_with(prefix) || file.to_string_lossy().starts_with(&format!("{prefix}.")),
    }
}

/// How often the record was updated: the number of the run. `None` where git does not know (a shallow clone).
pub fn run_number(root: &Path) -> Result<Option<u64>> {
    if git(root, &["rev-parse", "--is-shallow-repository"])?.is_none_or(|answer| answer.trim() == "true") {
        return Ok(None);
    }
    let count = git(root, &["rev-list", "--count", "HEAD", "--", RECORD])?;
    Ok(count.and_then(|count| count.trim().parse().ok()))
}

/// The commit that is checked out; `None` outside of git.
pub fn head(root: &Path) -> Result<Option<String>> {
    Ok(git(root, &["rev-parse", "HEAD"])?.map(|commit| commit.trim().to_owned()))
}

/// What git prints; `None` where it fails.
fn git(root: &Path, arguments: &[&str]) -> Result<Option<String>> {
    let output =
        Command::new("git").current_dir(root).args(arguments).output().context("cannot start git")?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing;

    fn touched(files: &[&str]) -> Touched {
        let mut made = testing::with_files(&[]);
        made.workspace.packages = ["base", "middle", "top", "beside"]
            .into_iter()
            .map(|name| {
                let of: &[(&str, Option<&str>)] = match name {
                    "middle" => &[("base", None)],
                    "top" => &[("middle", None)],
                    "beside" => &[("top", Some("dev"))],
                    _ => &[],
                };
                let mut package = testing::package(name, serde_json::json!(1), of);
                package.manifest_path = made.workspace.root.join(format!("crates/{name}/Cargo.toml"));
                package
            })
            .collect();
        Touched::of_files(files.iter().map(PathBuf::from).collect(), &made.workspace)
    }

    fn check(
        files: &[&str],
        packages: &'static [&'static str],
        paths: &'static [&'static str],
        expect: bool,
    ) {
        assert_eq!(
            touched(files).touches(Area { packages, paths }),
            expect,
            "{files:?} {packages:?} {paths:?}"
        );
    }

    #[test]
    fn a_change_touches_what_depends_on_it() {
        check(&["crates/middle/src/lib.rs"], &["top"], &[], true);
        check(&["crates/middle/src/lib.rs"], &["beside"], &[], true);
        check(&["crates/middle/src/lib.rs"], &["base"], &[], false);
        check(&["os/rootfs/etc/motd"], &["top"], &["os/"], true);
        check(&["docs/updates.md"], &["top"], &["os/"], false);
        check(&["qemu/scenarios/fleet/bus.rs"], &[], &["qemu/scenarios/fleet"], true);
        check(&["qemu/scenarios/fleet.rs"], &[], &["qemu/scenarios/fleet"], true);
        check(&["qemu/scenarios/kv.rs"], &[], &["qemu/scenarios/fleet"], false);
        check(&[], &["base", "top"], &["os/"], false);
    }

    #[test]
    fn a_change_of_the_workspace_touches_everything() {
        for file in ["Cargo.lock", "os/packages.lock", ".cargo/config.toml"] {
            assert!(matches!(touched(&[file]), Touched::Everything(_)), "{file}");
        }
        assert!(matches!(touched(&["crates/base/Cargo.toml"]), Touched::Some { .. }));
    }
}
