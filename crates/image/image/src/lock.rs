//! `os/packages` (what is asked for) and `os/packages.lock` (what that means, byte for byte).
//!
//! The lock names no host: a package is a pool path, and the mirrors are the machine's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file tree that a package goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tree {
    /// The node's `/usr`.
    System,
    /// The programs that build and run images.
    Tools,
}

impl Tree {
    pub const ALL: [Self; 2] = [Self::System, Self::Tools];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tools => "tools",
        }
    }
}

/// The part of the distribution that serves a package: each has its own mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Archive {
    Main,
    Security,
}

/// One pinned binary package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Path below the mirror's root, `pool/...`.
    pub path: String,
    /// Bytes of the .deb.
    pub size: u64,
    /// Of the .deb, 64 hex digits.
    pub sha256: String,
    pub trees: Vec<Tree>,
}

impl Package {
    /// Security updates live in a pool of their own name.
    #[must_use]
    pub fn archive(&self) -> Archive {
        if self.path.starts_with("pool/updates/") { Archive::Security } else { Archive::Main }
    }
}

/// All pinned packages, sorted by name.
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

const HEADER: &str = "# Made by `cargo keelson image lock` from os/packages: do not edit by hand.\n\n";

impl Lock {
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text =
            fs::read_to_string(path).map_err(|source| LockError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// `path` is only for messages.
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
                return Err(bad("it belongs to no tree"));
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

    /// The packages of one tree.
    pub fn of(&self, tree: Tree) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |package| package.trees.contains(&tree))
    }

    /// Joins what was resolved for each tree; the same .deb in two trees is one entry.
    #[must_use]
    pub fn merge(resolved: Vec<(Tree, Vec<Package>)>) -> Self {
        let mut by_name: BTreeMap<(String, String), Package> = BTreeMap::new();
        for (tree, packages) in resolved {
            for mut package in packages {
                package.trees = vec![tree];
                by_name
                    .entry((package.name.clone(), package.version.clone()))
                    .and_modify(|known| known.trees.push(tree))
                    .or_insert(package);
            }
        }
        Self { packages: by_name.into_values().collect() }
    }

    /// Lines such as `curl 8.14.1-2 -> 8.14.1-3` that lead from `old` to `self`.
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
                Some(known) if known != new => {
                    lines.push(format!("{name} {} -> {}", known.join(", "), new.join(", ")));
                }
                Some(_) => {}
            }
        }
        for (name, gone) in &before {
            if !after.contains_key(name) {
                lines.push(format!("{name} {} (gone)", gone.join(", ")));
            }
        }
        lines
    }
}

/// What `os/packages` asks for in one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeRequest {
    pub wanted: Vec<String>,
    /// Depended on by what is wanted, and of no use in an image: not locked.
    pub unwanted: Vec<String>,
}

/// What `os/packages` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub system: TreeRequest,
    pub tools: TreeRequest,
}

impl Request {
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text =
            fs::read_to_string(path).map_err(|source| LockError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Lines are `[tree]`, a package name, `-` and the name of a package to leave out, a `#` comment, or
    /// blank. `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let mut request = Self::default();
        let mut tree = None;
        for (index, line) in text.lines().enumerate() {
            let bad = |problem: String| LockError::Request { path: path.into(), line: index + 1, problem };
            let word = line.split('#').next().unwrap_or_default().trim();
            let name = word.strip_prefix('-').unwrap_or(word);
            if let Some(known) = Tree::ALL.iter().find(|tree| word == format!("[{}]", tree.name())) {
                tree = Some(*known);
            } else if is_package_name(name) {
                let tree = tree.ok_or_else(|| bad(format!("{word} stands before [system] or [tools]")))?;
                let names = request.of_mut(tree);
                let list = if word == name { &mut names.wanted } else { &mut names.unwanted };
                list.push(name.to_owned());
            } else if !word.is_empty() {
                return Err(bad(format!("`{word}` is neither a package name nor [system] or [tools]")));
            }
        }
        Ok(request)
    }

    fn of_mut(&mut self, tree: Tree) -> &mut TreeRequest {
        match tree {
            Tree::System => &mut self.system,
            Tree::Tools => &mut self.tools,
        }
    }

    #[must_use]
    pub fn of(&self, tree: Tree) -> &TreeRequest {
        match tree {
            Tree::System => &self.system,
            Tree::Tools => &self.tools,
        }
    }
}

/// Debian policy 5.6.1.
fn is_package_name(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && word
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
            path: format!("pool/main/{name}.deb"),
            size: 1,
            sha256: "0".repeat(64),
            trees: vec![],
        }
    }

    #[test]
    fn a_package_of_two_trees_is_one_entry_and_survives_writing() {
        let lock = Lock::merge(vec![
            (Tree::System, vec![package("b", "1"), package("a", "1")]),
            (Tree::Tools, vec![package("b", "1")]),
        ]);
        assert_eq!(lock.packages.len(), 2);
        assert_eq!(lock.packages[1].trees, Tree::ALL);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packages.lock");
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock);
    }

    #[test]
    fn changes_are_told_by_name() {
        let old = Lock::merge(vec![(Tree::System, vec![package("a", "1"), package("b", "1")])]);
        let new = Lock::merge(vec![(Tree::System, vec![package("a", "2"), package("c", "1")])]);
        assert_eq!(new.changes_since(&old), ["a 1 -> 2", "c 1 (new)", "b 1 (gone)"]);
        assert!(new.changes_since(&new).is_empty());
    }

    #[test]
    fn a_damaged_lock_is_refused_with_its_cause() {
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
    fn requests_name_the_line_of_a_mistake() {
        let check = |text: &str, expect: &str| {
            assert_eq!(Request::parse(text, Path::new("p")).unwrap_err().to_string(), expect);
        };
        check("curl\n", "p:1: curl stands before [system] or [tools]");
        check("[system]\n--force\n", "p:2: `--force` is neither a package name nor [system] or [tools]");
        let request = Request::parse("[system]\naa # why\n-cc\n\n[tools]\nbb\n", Path::new("p")).unwrap();
        assert_eq!((request.system.wanted, request.system.unwanted), (vec!["aa".into()], vec!["cc".into()]));
        assert_eq!(request.tools.wanted, ["bb"]);
    }
}
