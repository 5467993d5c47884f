//! Parses nextest's list of tests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A test that the default filter selects and that is not ignored.
const MATCHES: &str = "matches";

/// The tests that a run includes, as `STEP/BINARY::TEST`, by package; without packages that have none.
pub type Listed = BTreeMap<String, BTreeSet<String>>;

/// Output of `cargo nextest list --message-format json`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct List {
    /// By binary, as `junit.rs` names it.
    rust_suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Suite {
    package_name: String,
    testcases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Case {
    filter_match: FilterMatch,
}

#[derive(Deserialize)]
struct FilterMatch {
    status: String,
}

pub fn read(list: &str, step: &str) -> Result<Listed> {
    let list: List = serde_json::from_str(list).context("nextest's list is malformed")?;
    let mut listed = Listed::new();
    for (binary, suite) in list.rust_suites {
        let cases = suite.testcases.iter().filter(|(_, case)| case.filter_match.status == MATCHES);
        let parts: BTreeSet<_> = cases.map(|(name, _)| format!("{step}/{binary}::{name}")).collect();
        if !parts.is_empty() {
            listed.entry(suite.package_name).or_default().extend(parts);
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_listed_by_package_without_ignored_ones() {
        let listed = read(
            r#"{"rust-build-meta":{},"test-count":5,"rust-suites":{
            "kv::garbage":{"package-name":"kv","binary-id":"kv::garbage","status":"listed","testcases":{
              "a":{"kind":"test","ignored":false,"filter-match":{"status":"matches"}},
              "b":{"kind":"test","ignored":true,"filter-match":{"status":"mismatch","reason":"ignored"}}}},
            "kv":{"package-name":"kv","testcases":{"m::c":{"ignored":false,"filter-match":{"status":"matches"}}}},
            "empty":{"package-name":"empty","testcases":{}},
            "wants":{"package-name":"wants","testcases":{
              "d":{"ignored":true,"filter-match":{"status":"mismatch","reason":"ignored"}}}}}}"#,
            "tests",
        )
        .unwrap();
        let parts = ["tests/kv::garbage::a", "tests/kv::m::c"].map(str::to_owned).into();
        assert_eq!(listed, Listed::from([("kv".to_owned(), parts)]));
        assert!(read("{}", "tests").is_err());
    }
}
