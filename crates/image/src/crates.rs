//! The registry's crates that are linked into the node's programs, with the texts of their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::programs::Program;

/// The platform of the node.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How the names of files with a licence's text, or what it wants to be passed on, begin.
const TEXTS: [&str; 6] = ["copying", "copyright", "licence", "license", "notice", "unlicense"];

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub license: String,
    pub authors: Vec<String>,
    /// Contents of its files.
    pub texts: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CratesError {
    #[error("cannot run cargo")]
    Run(#[source] io::Error),
    #[error("cargo could not list the crates of the node's programs: {0}")]
    Cargo(String),
    #[error("cargo metadata printed something else than metadata")]
    Format(#[from] serde_json::Error),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    /// None for what stands in the checkout.
    source: Option<String>,
    manifest_path: PathBuf,
}

/// The crates of these programs, by name and version. Neither build scripts nor procedural macros are linked.
pub fn linked(programs: &[Program], checkout: &Path) -> Result<Vec<Linked>, CratesError> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let mut tree = cargo(checkout, "tree");
    tree.args(["--edges", "normal,no-proc-macro", "--target", TARGET, "--prefix", "none"]);
    tree.args(["--format", "{p}"]);
    for program in programs {
        tree.args(["--package", &program.package]);
    }
    let tree = String::from_utf8_lossy(&output(&mut tree)?).into_owned();
    let listed: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
    let mut metadata = cargo(checkout, "metadata");
    metadata.args(["--format-version", "1", "--filter-platform", TARGET]);
    let metadata: Metadata = serde_json::from_slice(&output(&mut metadata)?)?;
    let is_linked = |package: &Package| {
        package.source.is_some() && listed.contains(&(package.name.as_str(), package.version.as_str()))
    };
    let mut crates =
        metadata.packages.into_iter().filter(is_linked).map(read).collect::<Result<Vec<_>, _>>()?;
    crates.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    Ok(crates)
}

fn cargo(checkout: &Path, verb: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(checkout).args([verb, "--locked"]);
    command
}

fn output(command: &mut Command) -> Result<Vec<u8>, CratesError> {
    let output = command.output().map_err(CratesError::Run)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(CratesError::Cargo(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// Of `tokio v1.54.1`, with more behind it or not.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

fn read(package: Package) -> Result<Linked, CratesError> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new("/"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CratesError::Read { path, source }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if TEXTS.iter().any(|begin| name.starts_with(begin)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let text = fs::read(&file).map_err(failed(&file))?;
        texts.push(String::from_utf8_lossy(&text).replace("\r\n", "\n").trim_matches('\n').to_owned());
    }
    Ok(Linked {
        // Older crates separate choices by a slash.
        license: package.license.unwrap_or_else(|| "NOASSERTION".to_owned()).replace('/', " OR "),
        name: package.name,
        version: package.version,
        authors: package.authors,
        texts,
    })
}

/// The text of `/usr/share/doc/keelson/copyright`: all crates, and each text once.
#[must_use]
pub fn copyright(crates: &[Linked]) -> String {
    let mut text = "The programs of Keelson are under the Apache License, version 2.0:\n\
        /usr/share/common-licenses/Apache-2.0\n\n\
        The Rust standard library is linked into them (MIT OR Apache-2.0), and these crates are:\n\n"
        .to_owned();
    let mut holders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Linked { name, version, license, authors, texts } in crates {
        // invariant: writing to a String cannot fail.
        write!(text, "{name} {version}: {license}").unwrap_or_default();
        if texts.is_empty() {
            write!(text, " (its package has no text; authors: {})", authors.join(", ")).unwrap_or_default();
        }
        text.push('\n');
        for content in texts {
            holders.entry(content).or_default().push(format!("{name} {version}"));
        }
    }
    for (content, holders) in holders {
        write!(text, "\n{}\n{}\n\n{content}\n", "-".repeat(80), holders.join(", ")).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs;

    #[test]
    fn what_the_programs_link_is_listed_with_its_texts() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let programs = programs::read(&checkout.join("os/programs.toml")).unwrap();
        let crates = linked(&programs, &checkout).unwrap();
        let find = |name: &str| crates.iter().find(|one| one.name == name);
        let tokio = find("tokio").unwrap();
        assert_eq!(tokio.license, "MIT");
        assert!(tokio.texts.iter().any(|text| text.contains("Tokio Contributors")), "{:?}", tokio.texts);
        // A program's own crates, a procedural macro, what only compiles, and what only tests use.
        for name in ["member", "serde_derive", "cc", "proptest"] {
            assert_eq!(find(name), None, "{name}");
        }
        assert!(crates.iter().all(|one| one.license != "NOASSERTION"), "{crates:?}");
        let text = copyright(&crates);
        assert!(text.contains("\ntokio 1."), "{text}");
        assert!(text.contains(&tokio.texts[0]));
        assert_eq!(linked(&[], &checkout).unwrap(), []);
    }

    #[test]
    fn a_text_stands_once_under_all_that_have_it() {
        let one = |name: &str, texts: &[&str]| Linked {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: "MIT".to_owned(),
            authors: vec!["A".to_owned()],
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        };
        let text = copyright(&[one("a", &["same"]), one("b", &["same", "other"]), one("c", &[])]);
        assert!(
            text.contains(
                "\na 1.0.0: MIT\nb 1.0.0: MIT\nc 1.0.0: MIT (its package has no text; authors: A)\n"
            )
        );
        assert!(text.contains("\nb 1.0.0\n\nother\n"), "{text}");
        assert_eq!(text.matches("\na 1.0.0, b 1.0.0\n\nsame\n").count(), 1, "{text}");
    }
}
