//! `target/verify/passed.json`: the packages whose tests all passed, with the digest of their inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::result::Skip;
use crate::command::target_folder;

/// Path below cargo's target folder.
pub const FILE: &str = "verify/passed.json";
/// Changes with the meaning of the file or of a digest.
const FORMAT: u32 = 1;

/// By package.
pub type Passed = BTreeMap<String, PassedPackage>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedPackage {
    /// Of the inputs.
    pub digest: String,
    /// Number of tests.
    pub tests: usize,
    /// The tests among them that skipped themselves.
    pub skipped: Vec<Skip>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    packages: Passed,
}

/// The record of the checkout at `root`; empty if there is none that this program can read.
pub fn read(root: &Path) -> Passed {
    fs::read_to_string(target_folder(root).join(FILE)).map(|text| parse(&text)).unwrap_or_default()
}

/// Replaces the record. A write that is cut leaves a malformed one, which is as none.
pub fn write(root: &Path, passed: &Passed) -> Result<()> {
    let path = target_folder(root).join(FILE);
    let text = text(passed)?;
    fs::create_dir_all(path.parent().unwrap_or(root))
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn parse(text: &str) -> Passed {
    match serde_json::from_str(text) {
        Ok(Content { format: FORMAT, packages }) => packages,
        _ => Passed::new(),
    }
}

fn text(passed: &Passed) -> Result<String> {
    Ok(serde_json::to_string_pretty(&Content { format: FORMAT, packages: passed.clone() })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> Passed {
        let skipped = vec![Skip { part: "tests/kv::a".into(), reason: "a: no namespaces".into() }];
        Passed::from([("kv".to_owned(), PassedPackage { digest: "00".into(), tests: 3, skipped })])
    }

    #[test]
    fn the_record_is_read_back() {
        for passed in [passed(), Passed::new()] {
            assert_eq!(parse(&text(&passed).unwrap()), passed);
        }
    }

    #[test]
    fn a_malformed_or_older_file_is_as_none() {
        let good = text(&passed()).unwrap();
        assert_eq!(parse(&good).len(), 1);
        let half = &good[..good.len() / 2];
        let older = good.replace("\"format\": 1", "\"format\": 0");
        let without_digest = good.replace("digest", "hash");
        for text in [half, &older, &without_digest, "", "{}", "[]"] {
            assert_eq!(parse(text), Passed::new(), "{text}");
        }
    }
}
