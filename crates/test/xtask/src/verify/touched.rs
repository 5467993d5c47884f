//! What a change touches: the files that differ from the commit in `.ci/verified`, and the packages that depend on
//! them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::dependencies::{self, Manifests};
use super::verified::{self, Verified};
use crate::workspace::{Dependency, Package, Workspace};

/// A change below these paths may affect any program.
const EVERYTHING: [&str; 2] = ["rust-toolchain.toml", ".cargo/"];
/// These may too, depending on the change.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "Cargo.lock"];

/// Difference to the verified commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// No commit of this clone is verified, or a changed file affects everything.
    Everything(String),
    Some {
        files: BTreeSet<PathBuf>,
        /// The packages of these files, and all their dependents.
        packages: BTreeSet<String>,
    },
}

/// The part of the system that a check exercises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Packages; their dependencies belong to the area too.
    pub packages: &'static [&'static str],
    /// Files and folders below the checkout.
    pub paths: &'static [&'static str],
    /// The paths of other areas: what is below `paths` and below these belongs to those.
    pub except: &'static [&'static [&'static str]],
}

impl Touched {
    /// Compares the working tree with the verified commit.
    pub fn of(workspace: &Workspace, verified: Option<&Verified>) -> Result<Self> {
        let root = &workspace.root;
        let Some(Verified { commit, .. }) = verified else {
            return Ok(Self::Everything(format!("{} is missing", verified::FILE)));
        };
        if git(root, &["cat-file", "-e", &format!("{commit}^{{commit}}")])?.is_none() {
            return Ok(Self::Everything(format!("this clone has no commit {commit:?} ({})", verified::FILE)));
        }
        let changed = git(root, &["diff", "--name-only", commit])?;
        let new = git(root, &["ls-files", "--others", "--exclude-standard"])?;
        let files: BTreeSet<_> =
            changed.iter().chain(&new).flat_map(|text| text.lines()).map(PathBuf::from).collect();
        let built_otherwise = if files.iter().any(|file| MANIFESTS.iter().any(|name| file == Path::new(name)))
        {
            let [before, now] = [Some(commit.as_str()), None].map(|commit| manifests(root, commit));
            let ([workspace_before, lock_before], [workspace, lock]) = (before?, now?);
            dependencies::changed(
                Manifests { workspace: &workspace_before, lock: &lock_before },
                Manifests { workspace: &workspace, lock: &lock },
            )?
        } else {
            Some(BTreeSet::new())
        };
        match built_otherwise {
            Some(packages) => {
                let [_, lock] = manifests(root, None)?;
                Self::of_files(files, &packages, workspace, &lock)
            }
            None => Ok(Self::Everything(format!("{} changed", MANIFESTS[0]))),
        }
    }

    /// Adds the packages whose dependencies have changed.
    fn of_files(
        files: BTreeSet<PathBuf>,
        built_otherwise: &BTreeSet<String>,
        workspace: &Workspace,
        lock: &str,
    ) -> Result<Self> {
        let whole = |file: &Path| EVERYTHING.iter().any(|prefix| is_below(file, prefix));
        if let Some(file) = files.iter().find(|file| whole(file)) {
            return Ok(Self::Everything(format!("{} changed", file.display())));
        }
        let owned_by = |files: &mut dyn Iterator<Item = &PathBuf>| -> BTreeSet<String> {
            let owner = |file: &PathBuf| workspace.package_of(file).map(|package| package.name.clone());
            files.filter_map(owner).collect()
        };
        let is_test = |file: &&PathBuf| {
            let folder = workspace.package_of(file).and_then(|package| package.manifest_path.parent());
            folder.is_some_and(|folder| workspace.root.join(file).starts_with(folder.join("tests")))
        };
        let mut packages = owned_by(&mut files.iter().filter(|file| !is_test(file)));
        let by_patch = dependencies::dependents_by_patch(lock, &packages)?;
        let built_otherwise = built_otherwise.iter().chain(&by_patch);
        packages.extend(built_otherwise.filter(|name| workspace.has_package(name)).cloned());
        let depends = |package: &Package, on: &BTreeSet<String>, for_tests: bool| {
            let is_dev = |dependency: &Dependency| dependency.kind.as_deref() == Some("dev");
            let mut counts = package.dependencies.iter().filter(|one| for_tests || !is_dev(one));
            counts.any(|dependency| on.contains(&dependency.name))
        };
        let dependents = |of: &BTreeSet<String>, for_tests: bool| -> Vec<String> {
            let new = workspace.packages.iter().filter(|package| !of.contains(&package.name));
            new.filter(|package| depends(package, of, for_tests))
                .map(|package| package.name.clone())
                .collect()
        };
        loop {
            let found = dependents(&packages, false);
            if found.is_empty() {
                break;
            }
            packages.extend(found);
        }
        // A dev-dependency affects only the package itself.
        packages.extend(dependents(&packages, true));
        packages.extend(owned_by(&mut files.iter().filter(is_test)));
        Ok(Self::Some { files, packages })
    }

    pub fn touches(&self, area: Area) -> bool {
        match self {
            Self::Everything(_) => true,
            Self::Some { files, packages } => {
                let is_among = |file: &PathBuf, paths: &[&str]| paths.iter().any(|path| is_below(file, path));
                let is_of_others = |file: &PathBuf| area.except.iter().any(|paths| is_among(file, paths));
                area.packages.iter().any(|package| packages.contains(*package))
                    || files.iter().any(|file| is_among(file, area.paths) && !is_of_others(file))
            }
        }
    }
}

/// Whether the file is `prefix` or below it; without a `/` at its end, also `prefix` with an extension.
pub fn is_below(file: &Path, prefix: &str) -> bool {
    match prefix.strip_suffix('/') {
        Some(folder) => file.starts_with(folder),
        None => file.starts_with(prefix) || file.to_string_lossy().starts_with(&format!("{prefix}.")),
    }
}

/// Number of updates of `.ci/verified`: the run number. `None` if git does not know (a shallow clone).
pub fn run_number(root: &Path) -> Result<Option<u64>> {
    if git(root, &["rev-parse", "--is-shallow-repository"])?.is_none_or(|answer| answer.trim() == "true") {
        return Ok(None);
    }
    let count = git(root, &["rev-list", "--count", "HEAD", "--", verified::FILE])?;
    Ok(count.and_then(|count| count.trim().parse().ok()))
}

/// The checked-out commit; `None` outside of git.
pub fn head(root: &Path) -> Result<Option<String>> {
    Ok(git(root, &["rev-parse", "HEAD"])?.map(|commit| commit.trim().to_owned()))
}

/// [`MANIFESTS`] of a commit, or of the working tree.
fn manifests(root: &Path, commit: Option<&str>) -> Result<[String; 2]> {
    let text = |name: &str| match commit {
        Some(commit) => git(root, &["show", &format!("{commit}:{name}")])?
            .with_context(|| format!("commit {commit} has no {name}")),
        None => std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}")),
    };
    let [workspace, lock] = MANIFESTS.map(text);
    Ok([workspace?, lock?])
}

/// git's output; `None` if it fails.
fn git(root: &Path, arguments: &[&str]) -> Result<Option<String>> {
    let output =
        Command::new("git").current_dir(root).args(arguments).output().context("cannot start git")?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing;

    /// `registry` is used by `far`, and patched to use `base`.
    const LOCK: &str = "package = [{ name = \"far\", version = \"1\", dependencies = [\"registry\"] }, \
        { name = \"registry\", version = \"1\", source = \"registry\", dependencies = [\"base\"] }]";

    fn touched(files: &[&str]) -> Touched {
        let mut made = testing::with_files(&[]);
        made.workspace.packages = ["base", "middle", "top", "beside", "far"]
            .into_iter()
            .map(|name| {
                let of: &[(&str, Option<&str>)] = match name {
                    "middle" => &[("base", None)],
                    "top" => &[("middle", None)],
                    "beside" => &[("top", Some("dev"))],
                    "far" => &[("beside", None)],
                    _ => &[],
                };
                let mut package = testing::package(name, serde_json::json!(1), of);
                package.manifest_path = made.workspace.root.join(format!("crates/{name}/Cargo.toml"));
                package
            })
            .collect();
        let lock: BTreeSet<_> = ["middle", "tokio"].map(str::to_owned).into();
        let built_otherwise = if files.contains(&"Cargo.lock") { lock } else { BTreeSet::new() };
        let files = files.iter().map(PathBuf::from).collect();
        Touched::of_files(files, &built_otherwise, &made.workspace, LOCK).unwrap()
    }

    fn check(
        files: &[&str],
        packages: &'static [&'static str],
        paths: &'static [&'static str],
        expect: bool,
    ) {
        let area = Area { packages, paths, except: &[&["os/other"]] };
        assert_eq!(touched(files).touches(area), expect, "{files:?} {packages:?} {paths:?}");
    }

    #[test]
    fn a_change_touches_what_depends_on_it() {
        check(&["crates/middle/src/lib.rs"], &["top"], &[], true);
        check(&["crates/middle/src/lib.rs"], &["beside"], &[], true);
        check(&["crates/middle/src/lib.rs"], &["base"], &[], false);
        check(&["os/rootfs/etc/motd"], &["top"], &["os/"], true);
        check(&["os/other.service"], &["top"], &["os/"], false);
        check(&["os/other.service", "os/release.toml"], &["top"], &["os/"], true);
        check(&["docs/README.md"], &["top"], &["os/"], false);
        check(&["qemu/scenarios/fleet/bus.rs"], &[], &["qemu/scenarios/fleet"], true);
        check(&["qemu/scenarios/fleet.rs"], &[], &["qemu/scenarios/fleet"], true);
        check(&["qemu/scenarios/kv.rs"], &[], &["qemu/scenarios/fleet"], false);
        check(&[], &["base", "top"], &["os/"], false);
        check(&["Cargo.lock"], &["top"], &[], true);
        check(&["Cargo.lock"], &["base"], &[], false);
        check(&["crates/middle/tests/all.rs"], &["middle"], &[], true);
        check(&["crates/middle/tests/all.rs"], &["top"], &[], false);
        // It is only a dev-dependency.
        check(&["crates/top/src/lib.rs"], &["beside"], &[], true);
        check(&["crates/top/src/lib.rs"], &["far"], &[], false);
        check(&["crates/base/src/lib.rs"], &["far"], &[], true);
    }

    #[test]
    fn a_change_of_the_workspace_touches_everything() {
        for file in ["rust-toolchain.toml", ".cargo/config.toml"] {
            assert!(matches!(touched(&[file]), Touched::Everything(_)), "{file}");
        }
        assert!(matches!(touched(&["crates/base/Cargo.toml"]), Touched::Some { .. }));
    }
}
