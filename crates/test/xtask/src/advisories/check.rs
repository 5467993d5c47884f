//! `Cargo.lock` against the advisories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use semver::Version;
use serde::Deserialize;

use super::advisory::{Advisory, Informational};

const RULES: &str = "deny.toml";

/// The relevant part of `Cargo.lock`.
#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: Version,
    /// `None` for crates of this checkout.
    source: Option<String>,
}

/// The relevant part of `deny.toml`, as cargo-deny reads it.
#[derive(Debug, Deserialize)]
struct Rules {
    advisories: AdvisoryRules,
}

#[derive(Debug, Deserialize)]
struct AdvisoryRules {
    #[serde(default)]
    ignore: Vec<Ignored>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignored {
    id: String,
    reason: String,
}

/// The result of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What must be fixed: vulnerabilities, unsoundness, and entries of `deny.toml` that are not needed.
    pub findings: Vec<String>,
    /// Crates without maintenance, and notices.
    pub notes: Vec<String>,
    /// Number of checked crates of the registry.
    pub crates: usize,
}

/// Reads the advisories of crates, by crate.
pub fn database(folder: &Path) -> Result<BTreeMap<String, Vec<Advisory>>> {
    let mut advisories: BTreeMap<String, Vec<Advisory>> = BTreeMap::new();
    for package in entries(&folder.join("crates"))?.into_iter().filter(|path| path.is_dir()) {
        for file in entries(&package)? {
            if file.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let advisory =
                Advisory::parse(&text).with_context(|| format!("{} is malformed", file.display()))?;
            ensure!(
                package.file_name().is_some_and(|name| name == &*advisory.about.package),
                "{} is about the crate {}",
                file.display(),
                advisory.about.package
            );
            advisories.entry(advisory.about.package.clone()).or_default().push(advisory);
        }
    }
    if advisories.is_empty() {
        bail!("{} has no advisory: is it the RustSec advisory database?", folder.display());
    }
    Ok(advisories)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", folder.display());
    let entries = fs::read_dir(folder).with_context(failed)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry.with_context(failed)?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// Checks the lock in `root` with the exceptions of its `deny.toml`.
pub fn check(root: &Path, advisories: &BTreeMap<String, Vec<Advisory>>) -> Result<Report> {
    let lock: Lock = read_toml(&root.join("Cargo.lock"))?;
    let Rules { advisories: rules } = read_toml(&root.join(RULES))?;
    let mut report = Report::default();
    let mut used = Vec::new();
    for package in lock.package.iter().filter(|package| package.source.is_some()) {
        report.crates += 1;
        let known = advisories.get(&package.name).map(Vec::as_slice).unwrap_or_default();
        for advisory in known.iter().filter(|advisory| advisory.affects(&package.version)) {
            if rules.ignore.iter().any(|ignored| ignored.id == advisory.about.id) {
                used.push(&*advisory.about.id);
                continue;
            }
            let line = format!(
                "{} {}: {}: {} ({})",
                package.name,
                package.version,
                advisory.about.id,
                advisory.title,
                advisory.patched()
            );
            match advisory.about.informational {
                None | Some(Informational::Unsound | Informational::Other) => report.findings.push(line),
                Some(Informational::Unmaintained | Informational::Notice) => report.notes.push(line),
            }
        }
    }
    for Ignored { id, reason } in &rules.ignore {
        if reason.trim().is_empty() {
            report.findings.push(format!("{RULES}: the exception for {id} has no reason"));
        } else if !used.contains(&&**id) {
            report.findings.push(format!("{RULES}: the exception for {id} concerns no crate: remove it"));
        }
    }
    Ok(report)
}

fn read_toml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn advisory(id: &str, package: &str, more: &str, patched: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"2026-01-01\"\n{more}\n\
             [versions]\npatched = {patched}\n```\n\n# A title\n"
        )
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for (id, package, more, patched) in [
            ("R-1", "a", "", "[\">= 1.1.0\"]"),
            ("R-2", "a", "", "[\">= 1.0.0\"]"),
            ("R-3", "b", "informational = \"unmaintained\"", "[]"),
            ("R-4", "b", "informational = \"unsound\"", "[]"),
            ("R-5", "own", "", "[]"),
            ("R-6", "b", "withdrawn = \"2026-02-01\"", "[]"),
        ] {
            write(at, &format!("db/crates/{package}/{id}.md"), &advisory(id, package, more, patched));
        }
        write(at, "db/crates/README.txt", "");
        let registry = "source = \"registry+https://a.example\"\n";
        let package = |name, version, source| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}\n")
        };
        let lock = package("a", "1.0.0", registry)
            + &package("a", "1.1.0", registry)
            + &package("b", "0.1.0-alpha.1", registry)
            + &package("own", "1.0.0", "");
        write(at, "Cargo.lock", &lock);
        write(at, "deny.toml", "[advisories]\nyanked = \"deny\"\n");
        folder
    }

    #[test]
    fn affected_crates_of_the_lock_are_found() {
        let folder = folder();
        let at = folder.path();
        let advisories = database(&at.join("db")).unwrap();
        let report = check(at, &advisories).unwrap();
        assert_eq!(
            report.findings,
            ["a 1.0.0: R-1: A title (fixed in >=1.1.0)", "b 0.1.0-alpha.1: R-4: A title (no fixed version)"]
        );
        assert_eq!(report.notes, ["b 0.1.0-alpha.1: R-3: A title (no fixed version)"]);
        assert_eq!(report.crates, 3);
    }

    #[test]
    fn an_exception_needs_a_reason_and_a_crate() {
        let folder = folder();
        let at = folder.path();
        let advisories = database(&at.join("db")).unwrap();
        let ignore = |id: &str, reason: &str| format!("{{ id = \"{id}\", reason = \"{reason}\" }}");
        let found = |list: &[String]| {
            write(at, "deny.toml", &format!("[advisories]\nignore = [{}]\n", list.join(", ")));
            check(at, &advisories).unwrap().findings
        };
        assert!(found(&[ignore("R-1", "not called"), ignore("R-4", "not called")]).is_empty());
        let unused = "deny.toml: the exception for R-2 concerns no crate: remove it";
        assert_eq!(found(&[ignore("R-1", "r"), ignore("R-4", "r"), ignore("R-2", "r")]), [unused]);
        let no_reason = "deny.toml: the exception for R-1 has no reason";
        assert_eq!(found(&[ignore("R-1", " "), ignore("R-4", "r")]), [no_reason]);
    }

    #[test]
    fn a_damaged_database_is_an_error_with_its_file() {
        let folder = folder();
        let at = folder.path();
        let error = |at: &Path| format!("{:#}", database(at).unwrap_err());
        write(at, "db/crates/c/R-7.md", "```toml\n[advisory]\nid = 7\n```\n");
        assert!(error(&at.join("db")).contains("crates/c/R-7.md is malformed"), "{}", error(&at.join("db")));
        write(at, "db/crates/c/R-7.md", &advisory("R-7", "d", "", "[]"));
        assert!(error(&at.join("db")).contains("R-7.md is about the crate d"));
        fs::create_dir_all(at.join("empty/crates")).unwrap();
        assert!(error(&at.join("empty")).contains("has no advisory"));
        assert!(error(&at.join("none")).contains("cannot read"));
    }
}
