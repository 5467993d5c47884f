//! The crates that are linked into the node's programs, with their licence texts.
//!
//! The list is stored beside the programs and reused for the same manifests, so that an image of compiled programs
//! needs no cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fetch::hex;
use crate::programs::Program;

/// Target platform of the node.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Prefixes of the names of licence files and notices.
const LICENSE_FILE_PREFIXES: [&str; 6] =
    ["copying", "copyright", "licence", "license", "notice", "unlicense"];

/// Name of the list in the programs' folder.
pub const FILE: &str = "crates.json";

#[derive(Debug, Serialize, Deserialize)]
struct CrateList {
    /// Digest of the manifests.
    manifests: String,
    crates: Vec<LinkedCrate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedCrate {
    pub name: String,
    pub version: String,
    /// SPDX expression.
    pub license: String,
    pub authors: Vec<String>,
    /// Contents of the licence files.
    pub texts: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CratesError {
    #[error("cannot run cargo")]
    Run(#[source] io::Error),
    #[error("cargo cannot list the crates of the node's programs: {0}")]
    Cargo(String),
    #[error("cannot parse the output of cargo metadata")]
    Format(#[from] serde_json::Error),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
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
    /// `None` for packages of the workspace.
    source: Option<String>,
    manifest_path: PathBuf,
}

/// Writes the list of the programs' crates to `built`, unless the existing one matches the manifests.
pub fn record(programs: &[Program], checkout: &Path, built: &Path) -> Result<(), CratesError> {
    if programs.is_empty() {
        return Ok(());
    }
    let mut hash = Sha256::new();
    for path in manifests(checkout)? {
        hash.update(fs::read(&path).map_err(|source| CratesError::Read { path, source })?);
    }
    let (path, manifests) = (built.join(FILE), hex(&hash.finalize()));
    let recorded = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<CrateList>(&text).ok());
    if recorded.is_some_and(|recorded| recorded.manifests == manifests) {
        return Ok(());
    }
    let text = serde_json::to_vec(&CrateList { manifests, crates: linked_crates(programs, checkout)? })?;
    service::file::replace(&path, &text, 0o644).map_err(|source| CratesError::Write { path, source })
}

pub fn read(built: &Path) -> Result<Vec<LinkedCrate>, CratesError> {
    let path = built.join(FILE);
    let text = fs::read(&path).map_err(|source| CratesError::Read { path, source })?;
    Ok(serde_json::from_slice::<CrateList>(&text)?.crates)
}

/// The files that determine which crates are linked.
pub fn manifests(checkout: &Path) -> Result<Vec<PathBuf>, CratesError> {
    let mut files: Vec<PathBuf> =
        ["Cargo.lock", "Cargo.toml", "os/programs.toml"].iter().map(|name| checkout.join(name)).collect();
    // `crates/FOLDER/PACKAGE/Cargo.toml`
    for folder in entries(&checkout.join("crates"))? {
        files.extend(entries(&folder)?.into_iter().map(|package| package.join("Cargo.toml")));
    }
    files.retain(|file| file.exists());
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, CratesError> {
    let failed = |source| CratesError::Read { path: folder.to_owned(), source };
    fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// The programs' crates, sorted by name and version. Build scripts and procedural macros are not linked.
fn linked_crates(programs: &[Program], checkout: &Path) -> Result<Vec<LinkedCrate>, CratesError> {
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
    let mut crates = metadata
        .packages
        .into_iter()
        .filter(is_linked)
        .map(with_license_texts)
        .collect::<Result<Vec<_>, _>>()?;
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

/// Parses `tokio v1.54.1 ...`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split_whitespace();
    Some((fields.next()?, fields.next()?.strip_prefix('v')?))
}

fn with_license_texts(package: Package) -> Result<LinkedCrate, CratesError> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new("/"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CratesError::Read { path, source }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if LICENSE_FILE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let text = fs::read(&file).map_err(failed(&file))?;
        texts.push(String::from_utf8_lossy(&text).replace("\r\n", "\n").trim_matches('\n').to_owned());
    }
    Ok(LinkedCrate {
        // Older crates separate alternatives by a slash.
        license: package.license.unwrap_or_else(|| "NOASSERTION".to_owned()).replace('/', " OR "),
        name: package.name,
        version: package.version,
        authors: package.authors,
        texts,
    })
}

/// The content of `/usr/share/doc/keelson/copyright`: all crates, and each licence text once.
#[must_use]
pub fn copyright(crates: &[LinkedCrate]) -> String {
    let mut text = "The programs of Keelson are under the Apache License, version 2.0:\n\
        /usr/share/common-licenses/Apache-2.0\n\n\
        The Rust standard library is linked into them (MIT OR Apache-2.0), and these crates are:\n\n"
        .to_owned();
    let mut holders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for LinkedCrate { name, version, license, authors, texts } in crates {
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
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let programs = programs::read(&checkout.join("os/programs.toml")).unwrap();
        let crates = linked_crates(&programs, &checkout).unwrap();
        let find = |name: &str| crates.iter().find(|one| one.name == name);
        let tokio = find("tokio").unwrap();
        assert_eq!(tokio.license, "MIT");
        assert!(tokio.texts.iter().any(|text| text.contains("Tokio Contributors")), "{:?}", tokio.texts);
        // Workspace crates, procedural macros, build dependencies and test dependencies.
        for name in ["etcd-raft", "serde_derive", "cc", "proptest"] {
            assert_eq!(find(name), None, "{name}");
        }
        assert!(crates.iter().all(|one| one.license != "NOASSERTION"), "{crates:?}");
        let text = copyright(&crates);
        assert!(text.contains("\ntokio 1."), "{text}");
        assert!(text.contains(&tokio.texts[0]));
    }

    #[test]
    fn the_list_is_recreated_if_a_manifest_changed() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let programs = programs::read(&checkout.join("os/programs.toml")).unwrap();
        let built = tempfile::tempdir().unwrap();
        record(&programs, &checkout, built.path()).unwrap();
        let crates = read(built.path()).unwrap();
        assert!(crates.iter().any(|one| one.name == "tokio"));
        let path = built.path().join(FILE);
        let list = |manifests: &str| {
            let recorded: CrateList = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let manifests = if manifests.is_empty() { recorded.manifests } else { manifests.to_owned() };
            fs::write(&path, serde_json::to_vec(&CrateList { manifests, crates: Vec::new() }).unwrap())
                .unwrap();
            record(&programs, &checkout, built.path()).unwrap();
            read(built.path()).unwrap()
        };
        assert_eq!(list(""), [], "nothing has changed");
        assert_eq!(list("others"), crates);
    }

    #[test]
    fn identical_texts_are_merged() {
        let one = |name: &str, texts: &[&str]| LinkedCrate {
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
