//! A stored mutant: the property that it breaks, the edits that break it, and the tests that must fail.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// File extension.
const ENDING: &str = "toml";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// `AREA/NAME`: the path below the mutants' folder, without the extension.
    #[serde(skip)]
    pub name: String,
    /// One sentence, as in docs/reliability.md.
    pub promise: String,
    pub package: String,
    #[serde(default)]
    pub target: Target,
    /// Full names for `cargo test -- --exact`. Each must pass without the mutation and fail with it.
    pub tests: Vec<String>,
    /// Substring of the failing output: excludes failures that the mutation did not cause.
    pub expect: String,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(rename = "change")]
    pub changes: Vec<Change>,
}

/// Replaces one snippet of one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Path below the checkout.
    pub file: PathBuf,
    /// Occurs exactly once in the file.
    pub find: String,
    pub replace: String,
}

/// The test binary of a package: `lib`, `test:NAME` or `bin:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    #[default]
    Lib,
    Test(String),
    Bin(String),
}

/// What to compile and run, shared by mutants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestCommand {
    pub package: String,
    pub target: Target,
    pub env: BTreeMap<String, String>,
}

/// A snippet that does not match exactly one place of the tree.
#[derive(Debug, thiserror::Error)]
pub enum Stale {
    #[error("{0} cannot be read")]
    NoFile(PathBuf),
    #[error("{file} contains the snippet {count} times, not once: {line}")]
    Found { file: PathBuf, count: usize, line: String },
}

impl Mutant {
    fn parse(name: String, text: &str) -> Result<Self> {
        let mut mutant: Self = toml::from_str(text)?;
        mutant.name = name;
        Ok(mutant)
    }

    /// Whether `wanted` is this mutant's name or area.
    pub fn is_named(&self, wanted: &str) -> bool {
        self.name == wanted || self.name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
    }

    pub fn command(&self) -> TestCommand {
        let Self { package, target, env, .. } = self;
        TestCommand { package: package.clone(), target: target.clone(), env: env.clone() }
    }

    /// The changed files below `root` with their new text. Writes nothing.
    pub fn mutated(&self, root: &Path) -> Result<BTreeMap<PathBuf, String>, Stale> {
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for Change { file, find, replace } in &self.changes {
            let text = match files.remove(file) {
                Some(text) => text,
                None => fs::read_to_string(root.join(file)).map_err(|_| Stale::NoFile(file.clone()))?,
            };
            let count = text.matches(find.as_str()).count();
            if count != 1 {
                let line = find.trim().lines().next().unwrap_or_default().to_owned();
                return Err(Stale::Found { file: file.clone(), count, line });
            }
            files.insert(file.clone(), text.replacen(find.as_str(), replace, 1));
        }
        Ok(files)
    }
}

impl Target {
    /// The flags that select it for `cargo test`.
    pub fn flags(&self) -> Vec<&str> {
        match self {
            Self::Lib => vec!["--lib"],
            Self::Test(name) => vec!["--test", name],
            Self::Bin(name) => vec!["--bin", name],
        }
    }

    /// Its form in file names.
    pub fn file_name(&self) -> &str {
        match self {
            Self::Lib => "lib",
            Self::Test(name) | Self::Bin(name) => name,
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "lib" => Ok(Self::Lib),
            Some(("test", name)) => Ok(Self::Test(name.to_owned())),
            Some(("bin", name)) => Ok(Self::Bin(name.to_owned())),
            _ => Err(format!("target {text:?} is not lib, test:NAME or bin:NAME")),
        }
    }
}

impl fmt::Display for TestCommand {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(to, "{name}={value} ")?;
        }
        write!(to, "cargo test -p {} {}", self.package, self.target.flags().join(" "))
    }
}

/// Loads every mutant below `folder`, sorted by name.
pub fn load(folder: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for file in crate::workspace::list(folder)? {
        let path = folder.join(&file);
        let read = || -> Result<Mutant> {
            anyhow::ensure!(file.extension().is_some_and(|end| end == ENDING), "it is no .{ENDING} file");
            let name = file.with_extension("").to_string_lossy().into_owned();
            Mutant::parse(name, &fs::read_to_string(&path)?)
        };
        mutants.push(read().with_context(|| format!("mutant {}", path.display()))?);
    }
    mutants.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(mutants)
}
