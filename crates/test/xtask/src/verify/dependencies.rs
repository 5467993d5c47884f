//! Packages affected by a change of the workspace's `Cargo.toml` or of `Cargo.lock`: those whose dependencies
//! change.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::{Table, Value};

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    /// `NAME`, or `NAME VERSION` if the name is ambiguous.
    #[serde(default)]
    dependencies: Vec<String>,
}

/// One version of the two files.
#[derive(Debug, Clone, Copy)]
pub struct Manifests<'a> {
    pub workspace: &'a str,
    pub lock: &'a str,
}

/// Names of packages that the two versions build differently: with another dependency, or another version or
/// feature of one. `None` if any package may be affected.
pub fn changed(before: Manifests<'_>, now: Manifests<'_>) -> Result<Option<BTreeSet<String>>> {
    let Some(mut changed) = changed_dependencies(before.workspace, now.workspace)? else { return Ok(None) };
    let [before, now] = [before.lock, now.lock].map(locked);
    let (before, now) = (before?, now?);
    changed.extend(now.difference(&before).map(|package| package.name.clone()));
    Ok(Some(with_dependents(changed, &now)))
}

/// Names of packages that reach one of `packages` through a crate of a registry, which `[patch]` lets depend on it.
pub fn dependents_by_patch(lock: &str, packages: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let all = locked(lock)?;
    let patched = all.iter().filter(|package| package.source.is_some() && package.depends_on(packages));
    Ok(with_dependents(patched.map(|package| package.name.clone()).collect(), &all))
}

impl Locked {
    fn depends_on(&self, packages: &BTreeSet<String>) -> bool {
        let names = self.dependencies.iter().map(|name| name.split(' ').next().unwrap_or_default());
        names.into_iter().any(|name| packages.contains(name))
    }
}

fn with_dependents(mut of: BTreeSet<String>, all: &BTreeSet<Locked>) -> BTreeSet<String> {
    loop {
        let new = all.iter().filter(|package| !of.contains(&package.name) && package.depends_on(&of));
        let found: Vec<_> = new.map(|package| package.name.clone()).collect();
        if found.is_empty() {
            return of;
        }
        of.extend(found);
    }
}

fn locked(text: &str) -> Result<BTreeSet<Locked>> {
    let lock: Lock = toml::from_str(text).context("Cargo.lock is malformed")?;
    Ok(lock.package.into_iter().collect())
}

/// Settings of single packages, by table (`dependencies`, or a profile's name) and key.
type Settings = BTreeMap<(String, String), Value>;

/// Names of packages whose entry in `[workspace.dependencies]` or `[profile.*.package]` differs; `None` if anything
/// else differs.
fn changed_dependencies(before: &str, now: &str) -> Result<Option<BTreeSet<String>>> {
    let [before, now] = [before, now].map(split);
    let ((before, old), (now, new)) = (before?, now?);
    if before != now {
        return Ok(None);
    }
    let keys = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
    let package = |key: &(String, String)| {
        let named = [&new, &old].into_iter().filter_map(|all| all.get(key)?.get("package")?.as_str());
        named.map(str::to_owned).chain([key.1.clone()]).collect::<Vec<_>>()
    };
    Ok(Some(keys.flat_map(package).collect()))
}

/// Splits the manifest into everything else and the settings of single packages.
fn split(text: &str) -> Result<(Table, Settings)> {
    let mut manifest: Table = toml::from_str(text).context("Cargo.toml is malformed")?;
    let mut settings = Settings::new();
    let mut take = |name: &str, table: Option<Table>| {
        let entries = table.into_iter().flatten();
        settings.extend(entries.map(|(key, value)| ((name.to_owned(), key), value)));
    };
    if let Some(workspace) = manifest.get_mut("workspace").and_then(Value::as_table_mut) {
        let table = workspace.remove("dependencies");
        take("dependencies", table.and_then(|value| value.as_table().cloned()));
    }
    let profiles = manifest.get_mut("profile").and_then(Value::as_table_mut).into_iter().flatten();
    for (name, profile) in profiles {
        if let Some(packages) = profile.get_mut("package").and_then(Value::as_table_mut) {
            // Of all dependencies.
            let general = packages.remove_entry("*");
            take(name, Some(std::mem::take(packages)));
            packages.extend(general);
        }
    }
    Ok((manifest, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "[workspace]\nmembers = [\"crates/*\"]\n[workspace.dependencies]\n\
        tokio = \"1\"\nyaml = { package = \"yaml-ng\", version = \"1\" }\n[profile.dev]\ndebug = 1\n\
        [profile.dev.package]\nmio.opt-level = 1\n\"*\".debug = 3\n";
    const LOCK: &str = r#"
        [[package]]
        name = "etcd"
        version = "0.1.0"
        dependencies = ["tokio"]
        [[package]]
        name = "mio"
        version = "1.0.0"
        [[package]]
        name = "node"
        version = "0.1.0"
        dependencies = ["yaml-ng 1.0.0"]
        [[package]]
        name = "tokio"
        version = "1.0.0"
        dependencies = ["mio"]
        [[package]]
        name = "yaml-ng"
        version = "1.0.0"
        "#;

    fn check(workspace: [&str; 2], lock: [&str; 2], expect: Option<&[&str]>) {
        let before = Manifests { workspace: WORKSPACE, lock: LOCK };
        let (workspace_now, lock_now) =
            (WORKSPACE.replace(workspace[0], workspace[1]), LOCK.replace(lock[0], lock[1]));
        let found = changed(before, Manifests { workspace: &workspace_now, lock: &lock_now }).unwrap();
        let expect = expect.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(found, expect, "{workspace:?} {lock:?}");
    }

    #[test]
    fn a_patch_touches_what_is_built_with_its_crate() {
        let lock = LOCK.replace(
            "version = \"1.0.0\"\n        dependencies",
            "version = \"1.0.0\"\n        source = \"registry\"\n        dependencies",
        );
        let dependents = |of: &str| dependents_by_patch(&lock, &BTreeSet::from([of.to_owned()])).unwrap();
        assert_eq!(dependents("mio"), ["etcd", "tokio"].map(str::to_owned).into());
        assert_eq!(dependents("yaml-ng"), BTreeSet::new(), "only a package of the workspace uses it");
    }

    #[test]
    fn a_dependency_touches_what_is_built_with_it() {
        const SAME: [&str; 2] = ["", ""];
        check(SAME, SAME, Some(&[]));
        check(["[profile", "# a comment\n[profile"], SAME, Some(&[]));
        check(["tokio = \"1\"", "tokio = \"1.2\""], SAME, Some(&["etcd", "tokio"]));
        check(["version = \"1\" }", "version = \"2\" }"], SAME, Some(&["node", "yaml", "yaml-ng"]));
        let newer =
            ["name = \"mio\"\n        version = \"1.0.0\"", "name = \"mio\"\n        version = \"1.0.1\""];
        check(SAME, newer, Some(&["etcd", "mio", "tokio"]));
        check(SAME, ["dependencies = [\"tokio\"]", ""], Some(&["etcd"]));
    }

    #[test]
    fn a_profile_touches_everything_but_for_its_settings_of_a_package() {
        const SAME: [&str; 2] = ["", ""];
        check(["debug = 1", "debug = 2"], SAME, None);
        check(["debug = 3", "debug = 2"], SAME, None);
        check(["opt-level = 1", "opt-level = 2"], SAME, Some(&["etcd", "mio", "tokio"]));
        check(["mio.opt-level = 1", ""], SAME, Some(&["etcd", "mio", "tokio"]));
    }
}
