//! `os/packages` (requested packages) and `os/packages.lock` (the resolved packages with their hashes).
//!
//! The lock contains no host: packages have pool paths, and the mirrors depend on the build host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The tree that a package belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tree {
    /// The node's `/usr`.
    System,
    /// The programs that build and run images.
    Tools,
    /// The container image of debugging tools for `toolbox`.
    Toolbox,
}

impl Tree {
    pub const ALL: [Self; 3] = [Self::System, Self::Tools, Self::Toolbox];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tools => "tools",
            Self::Toolbox => "toolbox",
        }
    }
}

/// The part of the distribution that provides a package; each has its own mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Archive {
    Main,
    Security,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// The field `Source` of the package, `NAME` or `NAME (VERSION)`; `None` if the source package has the same name and
    /// version, and in locks that were written without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Path relative to the mirror's root, `pool/...`.
    pub path: String,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// SHA-256 of the .deb, 64 hex digits.
    pub sha256: String,
    pub trees: Vec<Tree>,
}

impl Package {
    /// Security updates are in a separate pool.
    #[must_use]
    pub fn archive(&self) -> Archive {
        if self.path.starts_with("pool/updates/") { Archive::Security } else { Archive::Main }
    }
}

/// All locked packages, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    #[serde(rename = "package", default)]
    pub packages: Vec<Package>,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not a package lock")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{path}: package {name}: {problem}")]
    Package { path: PathBuf, name: String, problem: &'static str },
    #[error("cannot write the lock as TOML")]
    Serialize(#[from] toml::ser::Error),
    #[error("{path}:{line}: {problem}")]
    Request { path: PathBuf, line: usize, problem: String },
}

/// The headings of os/packages, for messages.
const TREES: &str = "[system], [tools] or [toolbox]";
const HEADER: &str = "# Made by `cargo keelson image lock` from os/packages: do not edit by hand.\n\n";

impl Lock {
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text =
            fs::read_to_string(path).map_err(|source| LockError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// `path` is used in messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let lock: Self = toml::from_str(text)
            .map_err(|source| LockError::Syntax { path: path.into(), source: Box::new(source) })?;
        for package in &lock.packages {
            let bad = |problem| LockError::Package { path: path.into(), name: package.name.clone(), problem };
            if package.sha256.len() != 64 || !package.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad("sha256 is not 64 hex digits"));
            }
            if !package.path.starts_with("pool/") || package.path.split('/').any(|part| part == "..") {
                return Err(bad("path is not below pool/"));
            }
            if package.trees.is_empty() {
                return Err(bad("it is in no tree"));
            }
        }
        Ok(lock)
    }

    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let text = format!("{HEADER}{}", toml::to_string(self)?);
        let failed = |source| LockError::Write { path: path.into(), source };
        let partial = path.with_extension("lock.partial");
        fs::write(&partial, text).map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)
    }

    pub fn of(&self, tree: Tree) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |package| package.trees.contains(&tree))
    }

    /// The packages of some trees only.
    #[must_use]
    pub fn of_trees(&self, trees: &[Tree]) -> Self {
        let is_of = |package: &&Package| package.trees.iter().any(|tree| trees.contains(tree));
        Self { packages: self.packages.iter().filter(is_of).cloned().collect() }
    }

    /// Merges the resolved packages of all trees; a .deb in two trees is one entry.
    #[must_use]
    pub fn merge(resolved: Vec<(Tree, Vec<Package>)>) -> Self {
        let mut by_name: BTreeMap<(String, String), Package> = BTreeMap::new();
        for (tree, packages) in resolved {
            for mut package in packages {
                package.trees = vec![tree];
                by_name
                    .entry((package.name.clone(), package.version.clone()))
                    .and_modify(|existing| existing.trees.push(tree))
                    .or_insert(package);
            }
        }
        Self { packages: by_name.into_values().collect() }
    }

    /// The changes from `old` to `self`, as lines such as `curl 8.14.1-2 -> 8.14.1-3`.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Vec<String> {
        fn versions(lock: &Lock) -> BTreeMap<&str, Vec<&str>> {
            let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for package in &lock.packages {
                map.entry(&package.name).or_default().push(&package.version);
            }
            map
        }
        let (before, after) = (versions(old), versions(self));
        let mut lines = Vec::new();
        for (name, new) in &after {
            match before.get(name) {
                None => lines.push(format!("{name} {} (new)", new.join(", "))),
                Some(existing) if existing != new => {
                    lines.push(format!("{name} {} -> {}", existing.join(", "), new.join(", ")));
                }
                Some(_) => {}
            }
        }
        for (name, gone) in &before {
            if !after.contains_key(name) {
                lines.push(format!("{name} {} (removed)", gone.join(", ")));
            }
        }
        lines
    }
}

/// The requested packages of one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeRequest {
    pub wanted: Vec<String>,
    /// Dependencies that an image does not need; they are not locked.
    pub excluded: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub system: TreeRequest,
    pub tools: TreeRequest,
    pub toolbox: TreeRequest,
}

impl Request {
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text =
            fs::read_to_string(path).map_err(|source| LockError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Lines are `[tree]`, a package name, `-` and the name of a package to exclude, a `#` comment, or blank. `path`
    /// is used in messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let mut request = Self::default();
        let mut tree = None;
        for (index, line) in text.lines().enumerate() {
            let bad = |problem: String| LockError::Request { path: path.into(), line: index + 1, problem };
            let entry = line.split('#').next().unwrap_or_default().trim();
            let name = entry.strip_prefix('-').unwrap_or(entry);
            if let Some(existing) = Tree::ALL.iter().find(|tree| entry == format!("[{}]", tree.name())) {
                tree = Some(*existing);
            } else if is_package_name(name) {
                let tree = tree.ok_or_else(|| bad(format!("{entry} is before {TREES}")))?;
                let names = request.of_mut(tree);
                let list = if entry == name { &mut names.wanted } else { &mut names.excluded };
                list.push(name.to_owned());
            } else if !entry.is_empty() {
                return Err(bad(format!("`{entry}` is neither a package name nor {TREES}")));
            }
        }
        Ok(request)
    }

    fn of_mut(&mut self, tree: Tree) -> &mut TreeRequest {
        match tree {
            Tree::System => &mut self.system,
            Tree::Tools => &mut self.tools,
            Tree::Toolbox => &mut self.toolbox,
        }
    }

    #[must_use]
    pub fn of(&self, tree: Tree) -> &TreeRequest {
        match tree {
            Tree::System => &self.system,
            Tree::Tools => &self.tools,
            Tree::Toolbox => &self.toolbox,
        }
    }
}

/// Debian policy 5.6.1.
fn is_package_name(entry: &str) -> bool {
    entry.len() > 1
        && entry.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && entry
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            source: None,
            path: format!("pool/main/{name}.deb"),
            size: 1,
            sha256: "0".repeat(64),
            trees: vec![],
        }
    }

    #[test]
    fn a_package_in_two_trees_is_one_entry_and_round_trips() {
        let lock = Lock::merge(vec![
            (Tree::System, vec![package("b", "1"), package("a", "1")]),
            (Tree::Tools, vec![package("b", "1")]),
        ]);
        assert_eq!(lock.packages.len(), 2);
        assert_eq!(lock.packages[1].trees, [Tree::System, Tree::Tools]);
        let names = |trees: &[Tree]| -> Vec<String> {
            lock.of_trees(trees).packages.into_iter().map(|package| package.name).collect()
        };
        assert_eq!(names(&[Tree::Tools, Tree::Toolbox]), ["b"]);
        assert_eq!(names(&Tree::ALL), ["a", "b"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packages.lock");
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock);
    }

    #[test]
    fn changes_are_listed_by_name() {
        let old = Lock::merge(vec![(Tree::System, vec![package("a", "1"), package("b", "1")])]);
        let new = Lock::merge(vec![(Tree::System, vec![package("a", "2"), package("c", "1")])]);
        assert_eq!(new.changes_since(&old), ["a 1 -> 2", "c 1 (new)", "b 1 (removed)"]);
        assert!(new.changes_since(&new).is_empty());
    }

    #[test]
    fn invalid_locks_are_rejected_with_the_cause() {
        let check = |text: &str, expect: &str| {
            let error = Lock::parse(text, Path::new("l")).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        let entry = |path: &str, sha: &str, trees: &str| {
            format!(
                "[[package]]\nname='a'\nversion='1'\narchitecture='all'\npath='{path}'\nsize=1\nsha256='{sha}'\ntrees={trees}\n"
            )
        };
        check("[[package]]\nname = 3\n", "not a package lock");
        check(&entry("pool/x", "12", "['tools']"), "64 hex");
        check(&entry("pool/../../etc/x", &"0".repeat(64), "['tools']"), "below pool/");
        check(&entry("pool/x", &"0".repeat(64), "[]"), "no tree");
    }

    #[test]
    fn request_errors_have_the_line_number() {
        let check = |text: &str, expect: &str| {
            assert_eq!(Request::parse(text, Path::new("p")).unwrap_err().to_string(), expect);
        };
        check("curl\n", "p:1: curl is before [system], [tools] or [toolbox]");
        check(
            "[system]\n--force\n",
            "p:2: `--force` is neither a package name nor [system], [tools] or [toolbox]",
        );
        let text = "[system]\naa # why\n-cc\n\n[tools]\nbb\n[toolbox]\ndd\n";
        let request = Request::parse(text, Path::new("p")).unwrap();
        assert_eq!(request.toolbox.wanted, ["dd"]);
        assert_eq!((request.system.wanted, request.system.excluded), (vec!["aa".into()], vec!["cc".into()]));
        assert_eq!(request.tools.wanted, ["bb"]);
    }
}
