//! The `quick` profile of images and `cargo keelson` compile shared packages with the same features, so that cargo
//! reuses them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::finding::{Finding, Outcome};
use crate::command::cargo;
use crate::node_programs;
use crate::workspace::Workspace;

/// The package that builds images.
const BUILDER: &str = "keelson";
/// Packages with few dependents, or compiled by one side for build scripts only, with other settings: compiling
/// them twice costs seconds.
const TWICE: [&str; 6] = ["phf_shared", "regex", "regex-automata", "regex-syntax", "uuid", "winnow"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    if !workspace.has_package(BUILDER) {
        return Ok(Outcome::Skipped(format!("there is no package {BUILDER}")));
    }
    let programs = node_programs::read(&workspace.root)?;
    let packages: Vec<&str> = programs.iter().map(|program| program.package.as_str()).collect();
    let builder = features(&tree(&workspace.root, &[BUILDER])?);
    let programs = features(&tree(&workspace.root, &packages)?);
    Ok(Outcome::of(differences(&builder, &programs)))
}

/// A line per compiled package: `NAME vVERSION|FEATURE,FEATURE`.
fn tree(root: &Path, packages: &[&str]) -> Result<String> {
    let mut command = cargo(root, &["tree", "--locked", "--edges", "normal,build", "--prefix", "none"]);
    command.args(["--format", "{p}|{f}"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command.output().context("cannot start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Feature sets of each package: one for programs, one for build scripts and macros.
fn features(tree: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (package, features) in tree.lines().filter_map(|line| line.split_once('|')) {
        let (features, sets) =
            (features.trim_end_matches(" (*)"), found.entry(package.to_owned()).or_default());
        if !sets.iter().any(|set| set == features) {
            sets.push(features.to_owned());
        }
    }
    found
}

fn differences(
    builder: &BTreeMap<String, Vec<String>>,
    programs: &BTreeMap<String, Vec<String>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (package, with) in builder {
        let name = package.split(' ').next().unwrap_or(package);
        let Some(needed) = programs.get(package).filter(|_| !TWICE.contains(&name)) else { continue };
        if !with.iter().any(|set| needed.contains(set)) {
            let (with, needed) = (with.join(" | "), needed.join(" | "));
            let message = format!(
                "{package} is compiled twice: for {BUILDER} with [{with}], for the node's programs with [{needed}]: make \
                 the features equal in the workspace's Cargo.toml, or name the package in crates/{BUILDER}/Cargo.toml"
            );
            findings.push(Finding::new("Cargo.toml", message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(builder: &str, programs: &str, expect: &[&str]) {
        let found = differences(&features(builder), &features(programs));
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, package) in found.iter().zip(expect) {
            assert!(finding.message.starts_with(package), "{finding}");
        }
    }

    #[test]
    fn other_features_of_a_common_package_are_found() {
        check("a v1.0.0|std\nb v1.0.0|", "a v1.0.0|alloc,std\nb v1.0.0|x (*)\n", &["a v1.0.0 ", "b v1.0.0 "]);
    }

    #[test]
    fn the_same_features_another_version_and_what_only_one_has_pass() {
        check("a v1.0.0|std\na v1.0.0|std (*)\n", "a v1.0.0|std (*)\n", &[]);
        check("a v1.0.0|std", "a v2.0.0|\nb v1.0.0|\n", &[]);
        check("a v1.0.0|std\na v1.0.0|\n", "a v1.0.0|\n", &[]);
        check("uuid v1.0.0|std", "uuid v1.0.0|\n", &[]);
    }
}
