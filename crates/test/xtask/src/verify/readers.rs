//! Which files are inputs of a package's tests.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::touched::is_below;

/// Files in no package's folder that are inputs only of [`READERS`]; also Markdown of the top folder.
const DOCUMENTATION: [&str; 2] = ["docs/", ".ci/"];
/// Cargo unifies features over the workspace: each manifest is an input of all packages.
const MANIFEST: &str = "Cargo.toml";

/// Packages that read more than their folders, those of their dependencies and what is in no package's folder, and what
/// they read below the checkout.
const READERS: [(&str, &[&str]); 5] = [
    ("channel-server", &["docs/"]),
    ("etcd-http", &["docs/"]),
    ("fleet-http", &["docs/"]),
    ("scenarios", &["docs/", "crates/fleet/systemd-units/"]),
    ("xtask", &[""]),
];

/// Whether a file of the package `owner`, or of none, is an input of a package with these dependencies and itself.
pub fn is_input(file: &Path, owner: Option<&str>, dependencies: &BTreeSet<String>) -> bool {
    let is_read = |(package, paths): &(&str, &[&str])| {
        dependencies.contains(*package) && paths.iter().any(|path| is_below(file, path))
    };
    let is_own = owner.map_or_else(|| !is_documentation(file), |owner| dependencies.contains(owner));
    is_own || file.file_name() == Some(OsStr::new(MANIFEST)) || READERS.iter().any(is_read)
}

fn is_documentation(file: &Path) -> bool {
    let in_top_folder = file.parent() == Some(Path::new(""));
    DOCUMENTATION.iter().any(|folder| is_below(file, folder))
        || in_top_folder && file.extension() == Some(OsStr::new("md"))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, PathBuf};

    use super::super::package_graph;
    use super::*;
    use crate::workspace::{self, Workspace};

    fn check(file: &str, owner: Option<&str>, dependencies: &[&str], expect: bool) {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(is_input(Path::new(file), owner, &dependencies), expect, "{file} {dependencies:?}");
    }

    #[test]
    fn a_file_is_an_input_of_its_package_and_its_dependents() {
        check("crates/a/base/src/lib.rs", Some("base"), &["base"], true);
        check("crates/a/base/src/lib.rs", Some("base"), &["base", "top"], true);
        check("crates/a/base/src/lib.rs", Some("base"), &["far"], false);
        check("crates/a/base/Cargo.toml", Some("base"), &["far"], true);
        check("os/release.toml", None, &["far"], true);
        check("Cargo.lock", None, &["far"], true);
    }

    #[test]
    fn documentation_is_an_input_of_what_reads_it() {
        for file in ["docs/reference/http-api.md", "README.md", ".ci/costs.json"] {
            check(file, None, &["far"], false);
            check(file, None, &["xtask"], true);
        }
        check("docs/reference/http-api.md", None, &["etcd-http"], true);
        check("docs/tutorial.md", None, &["keelson", "scenarios"], true);
        check("README.md", None, &["etcd-http"], false);
        check("os/notes.md", None, &["far"], true);
        check(
            "crates/fleet/systemd-units/tests/systemd/flow.rs",
            Some("systemd-units"),
            &["scenarios"],
            true,
        );
    }

    /// Files and folders below `root` that this text of a package's source names: relative to the source (`include_str!`,
    /// `#[path]`), to the package, or to `root` if the package finds it.
    fn named(text: &str, bases: &[&Path], root: &Path) -> BTreeSet<PathBuf> {
        let is_path =
            |word: &&str| !word.is_empty() && !word.starts_with("//") && !word.contains(['\n', ' ']);
        let words = text.split('"').filter(is_path).map(|word| word.trim_start_matches('/'));
        let below = |(word, base): (&str, &&Path)| {
            let mut path = PathBuf::new();
            for part in base.join(word).components() {
                match part {
                    Component::ParentDir if !path.pop() => return None,
                    Component::Normal(name) => path.push(name),
                    _ => {}
                }
            }
            root.join(&path).exists().then_some(path)
        };
        words.flat_map(|word| bases.iter().map(move |base| (word, base))).filter_map(below).collect()
    }

    #[test]
    fn names_of_files_are_found() {
        let made =
            workspace::testing::with_files(&[("docs/a.md", ""), ("crates/a/b/tests/x", ""), ("os/c", "")]);
        let text = "const A: &str = include_str!(\"../../../../docs/a.md\");\nconcat!(env!(\"D\"), \"/../../../os/c\")\n\
                    join(\"tests/x\"); join(\"docs\"); \"no ../a\"";
        let found = |bases: &[&str]| -> Vec<String> {
            let bases: Vec<_> = bases.iter().map(Path::new).collect();
            named(text, &bases, &made.workspace.root).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(found(&["crates/a/b/src", "crates/a/b"]), ["crates/a/b/tests/x", "docs/a.md", "os/c"]);
        assert_eq!(found(&[""]), ["docs"]);
    }

    /// The paths below the checkout that sources of `package` name.
    fn named_by(package: &workspace::Package, workspace: &Workspace) -> BTreeSet<PathBuf> {
        let folder = package.manifest_path.parent().unwrap().strip_prefix(&workspace.root).unwrap();
        let is_source = |file: &&PathBuf| {
            let kind = file.extension().and_then(OsStr::to_str);
            file.starts_with(folder) && kind.is_some_and(|kind| ["rs", "py", "sh"].contains(&kind))
        };
        let sources: Vec<_> = workspace
            .files
            .iter()
            .filter(is_source)
            .map(|file| (file.parent().unwrap(), workspace.read(file).unwrap()))
            .collect();
        let root = &workspace.root;
        let mut paths: BTreeSet<_> =
            sources.iter().flat_map(|(of, text)| named(text, &[of, folder], root)).collect();
        if paths.contains(Path::new("")) {
            paths.extend(sources.iter().flat_map(|(_, text)| named(text, &[Path::new("")], root)));
        }
        paths
    }

    /// Otherwise tests would be taken for unchanged though a file that they read changed.
    #[test]
    fn what_a_package_names_is_its_input() {
        let workspace = Workspace::load(&workspace::root()).unwrap();
        let dependencies = package_graph::testing::of_this_checkout();
        let holds_packages = |path: &Path| {
            let path = workspace.root.join(path);
            workspace.packages.iter().any(|package| package.manifest_path.starts_with(&path))
        };
        let mut number = 0;
        for package in workspace.packages.iter().filter(|package| package.name != "xtask") {
            for path in named_by(package, &workspace) {
                let owner = workspace.package_of(&path).map(|package| package.name.as_str());
                // Of a folder of packages, a test may only read manifests.
                if owner.is_none() && holds_packages(&path) {
                    continue;
                }
                // A folder stands for its files.
                let file = if workspace.root.join(&path).is_dir() { path.join("file") } else { path };
                assert!(
                    is_input(&file, owner, &dependencies[&package.name]),
                    "{} reads {}: name it in READERS",
                    package.name,
                    file.display()
                );
                number += usize::from(owner != Some(&package.name));
            }
        }
        assert!(number > 20, "{number}");
    }
}
