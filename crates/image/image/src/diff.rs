//! Compares two images: packages by their bills of materials, files by content.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::sbom::CRATE_ID;
use crate::tree::{PathContext, TreeError, digest, walk};
use crate::verify::{Disk, VerifyError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub packages: Vec<Change>,
    pub files: Vec<Change>,
}

/// An item that exists in one image only, or differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub name: String,
    /// A package's version, or a file's size and mode; `None` if it does not exist.
    pub before: Option<String>,
    pub after: Option<String>,
}

pub fn diff(before: &Disk, after: &Disk) -> Result<Difference, VerifyError> {
    Ok(diff_trees(&before.extract_usr()?, &after.extract_usr()?)?)
}

fn diff_trees(before: &Path, after: &Path) -> Result<Difference, TreeError> {
    let packages = changes(packages(before), packages(after));
    let (old, new) = (entries(before)?, entries(after)?);
    let mut files = Vec::new();
    for change in changes(comparable(&old), comparable(&new)) {
        files.push(Change {
            before: change.before.map(|_| old[&change.name].0.clone()),
            after: change.after.map(|_| new[&change.name].0.clone()),
            name: change.name,
        });
    }
    Ok(Difference { packages, files })
}

/// Names and versions in the bill of materials; empty if it is unreadable.
fn packages(usr: &Path) -> BTreeMap<String, String> {
    let text = fs::read(usr.join("share/keelson/sbom.spdx.json")).unwrap_or_default();
    let sbom: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let entries = sbom["packages"].as_array().cloned().unwrap_or_default();
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for package in &entries {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let kind = if field("SPDXID").starts_with(CRATE_ID) { " (crate)" } else { "" };
        let versions = packages.entry(format!("{}{kind}", field("name"))).or_default();
        // Several versions of a crate may be linked.
        if !versions.is_empty() {
            versions.push_str(", ");
        }
        versions.push_str(field("versionInfo"));
    }
    packages
}

/// Maps a path to its description and to the value that is compared.
fn entries(usr: &Path) -> Result<BTreeMap<String, (String, String)>, TreeError> {
    let mut entries = BTreeMap::new();
    for relative in walk(usr)? {
        let path: PathBuf = usr.join(&relative);
        let metadata = path.symlink_metadata().at(&path)?;
        if metadata.is_dir() {
            continue;
        }
        let description =
            format!("{} bytes, mode {:o}", metadata.len(), metadata.permissions().mode() & 0o7777);
        let compared = format!("{description} {}", digest(&path)?);
        entries.insert(relative.to_string_lossy().into_owned(), (description, compared));
    }
    Ok(entries)
}

fn comparable(entries: &BTreeMap<String, (String, String)>) -> BTreeMap<String, String> {
    entries.iter().map(|(name, (_, compared))| (name.clone(), compared.clone())).collect()
}

fn changes(before: BTreeMap<String, String>, after: BTreeMap<String, String>) -> Vec<Change> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::write_file;

    #[test]
    fn changed_added_and_removed_are_distinguished() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (file, content) in
            [("a/same", "1"), ("b/same", "1"), ("a/x", "1"), ("b/x", "2"), ("a/gone", ""), ("b/new", "")]
        {
            write_file(&at(file), content.as_bytes(), 0o644).unwrap();
        }
        let sbom = |version: &str| {
            let package = |id: &str, version: &str| {
                format!("{{\"SPDXID\":\"{id}\",\"name\":\"p\",\"versionInfo\":\"{version}\"}}")
            };
            let (one, other) = (package("SPDXRef-crate-p-0", "0"), package("SPDXRef-crate-p-1", version));
            format!("{{\"packages\":[{},{one},{other}]}}", package("SPDXRef-deb-p", version))
        };
        write_file(&at("a/share/keelson/sbom.spdx.json"), sbom("1").as_bytes(), 0o644).unwrap();
        write_file(&at("b/share/keelson/sbom.spdx.json"), sbom("2").as_bytes(), 0o644).unwrap();
        let difference = diff_trees(&at("a"), &at("b")).unwrap();
        let names: Vec<&str> = difference.files.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(names, ["gone", "new", "share/keelson/sbom.spdx.json", "x"]);
        assert_eq!(difference.files[0].after, None);
        let after: Vec<_> = difference
            .packages
            .iter()
            .map(|change| (change.name.as_str(), change.after.as_deref()))
            .collect();
        assert_eq!(after, [("p", Some("2")), ("p (crate)", Some("0, 2"))]);
    }
}
