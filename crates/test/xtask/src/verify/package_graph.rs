//! The packages of the workspace that each of them depends on, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

/// By name: the package itself, and what it depends on, directly or through others, also for builds and tests.
pub type Dependencies = BTreeMap<String, BTreeSet<String>>;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

/// Has the dependencies of other crates too: one may be patched by a package of the workspace.
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// Parses the output of `cargo metadata`, which must be without `--no-deps`.
pub fn read(metadata: &str) -> Result<Dependencies> {
    let metadata: Metadata =
        serde_json::from_str(metadata).context("cargo metadata printed something else")?;
    let is_member = |package: &&Package| metadata.workspace_members.contains(&package.id);
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().filter(is_member).map(|package| (&*package.id, &*package.name)).collect();
    let edges: BTreeMap<&str, &[String]> =
        metadata.resolve.nodes.iter().map(|node| (&*node.id, &*node.dependencies)).collect();
    let dependencies_of = |id: &str| {
        let reached = reached(id, &edges);
        reached.into_iter().filter_map(|id| names.get(id).map(|name| (*name).to_owned())).collect()
    };
    Ok(names.iter().map(|(id, name)| ((*name).to_owned(), dependencies_of(id))).collect())
}

fn reached<'a>(from: &'a str, edges: &BTreeMap<&'a str, &'a [String]>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from([from]);
    let mut waiting = vec![from];
    while let Some(id) = waiting.pop() {
        let next = edges.get(id).copied().unwrap_or_default().iter().map(String::as_str);
        waiting.extend(next.filter(|id| reached.insert(id)));
    }
    reached
}

#[cfg(test)]
pub mod testing {
    use super::*;
    use crate::command::cargo;
    use crate::workspace;

    /// Of this checkout. For one platform, whose crates the compilation of this test has downloaded.
    pub fn of_this_checkout() -> Dependencies {
        let arguments = [
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ];
        let output = cargo(&workspace::root(), &arguments).output().unwrap();
        read(&String::from_utf8_lossy(&output.stdout)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_package_depends_on_what_its_crates_are_patched_with() {
        let node = |id: &str, dependencies: &[&str]| json!({ "id": id, "dependencies": dependencies });
        let package = |id: &str| json!({ "id": id, "name": id.to_lowercase() });
        let packages = ["TOP", "MIDDLE", "FAR", "PATCH", "CRATE"].map(package);
        let metadata = json!({
            "packages": packages,
            "workspace_members": ["TOP", "MIDDLE", "FAR", "PATCH"],
            "resolve": { "nodes": [
                node("TOP", &["MIDDLE"]),
                node("MIDDLE", &["CRATE", "TOP"]),
                node("FAR", &[]),
                node("CRATE", &["PATCH"]),
                node("PATCH", &[]),
            ] },
        });
        let dependencies = read(&metadata.to_string()).unwrap();
        let of = |name: &str| dependencies[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(dependencies.len(), 4);
        assert_eq!(of("top"), ["middle", "patch", "top"]);
        assert_eq!(of("middle"), ["middle", "patch", "top"], "tests may depend on each other's packages");
        assert_eq!(of("far"), ["far"]);
        assert!(read("{}").is_err());
    }

    #[test]
    fn the_packages_of_this_checkout_have_dependencies() {
        let dependencies = testing::of_this_checkout();
        let depends = |package: &str, on: &str| dependencies[package].contains(on);
        assert!(depends("etcd", "etcd-raft") && !depends("etcd-raft", "etcd"));
        assert!(depends("etcd-raft", "base2histogram"), "a patch of a crate that openraft uses");
    }
}
