//! Tests that take minutes: ignored ones whose name contains `soak`, and repeated randomized tests.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::parts::{Kind, Part};
use super::plan::Size;
use super::random;
use super::run::Run;
use crate::command::{cargo, has_cargo_plugin, require_success, show, show_and_read};

const FILTER: &str = "test(soak)";
/// The part that repeats randomized tests.
const RANDOM: &str = "random-inputs";
/// Duration with `--all`, and in the rotation.
const RANDOM_LONG: &str = "15m";
const RANDOM_CI: &str = "2m";
/// Selects the seeds of a soak.
const SEEDS: &str = "KEELSON_SEEDS";
/// Suites whose soaks take seeds, and the number of seeds in the rotation; later runs use later seeds.
const SEEDED: [(&str, u64); 3] =
    [("etcd-simulation::simulation", 150), ("etcd::faults", 6), ("fleet-simulation::whole_system", 100)];
/// The part with the soaks of all fuzz targets, two at a time.
const FUZZ: &str = "fuzz::corpus";
/// Seconds of each fuzz target in the rotation; minutes by default.
const FUZZ_SECONDS: (&str, &str) = ("KEELSON_FUZZ_SECONDS", "30");

/// The part of `cargo nextest list --message-format json` that names tests.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "rust-suites")]
    suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
struct Suite {
    testcases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "filter-match")]
    matched: Match,
}

#[derive(Deserialize)]
struct Match {
    status: String,
}

/// `SUITE::TEST` for each soak, and one part for those of the fuzz targets.
pub fn parts(run: &Run<'_>, step: &str) -> Result<Vec<Part>> {
    let root = &run.workspace.root;
    if !has_cargo_plugin(root, "nextest") {
        return Ok(Vec::new());
    }
    let arguments = ["nextest", "list", "--locked", "--workspace", "--lib", "--bins", "--tests"];
    let mut command = cargo(root, &arguments);
    command.args(["--run-ignored", "only", "--message-format", "json", "-E", FILTER]);
    let listed = require_success(show_and_read(&mut command)?).context("cargo nextest list")?;
    let mut names = names(&listed.stdout)?;
    if let Some(gone) = without_soak(&names) {
        bail!("{gone} takes seeds, and has no soak");
    }
    names.push(RANDOM.to_owned());
    Ok(names.into_iter().map(|name| Part::new(format!("{step}/{name}"), Kind::Long)).collect())
}

fn names(json: &str) -> Result<Vec<String>> {
    let listed: Listed = serde_json::from_str(json).context("cargo nextest list printed something else")?;
    let of_suite = |(suite, cases): (String, Suite)| {
        let matching = cases.testcases.into_iter().filter(|(_, case)| case.matched.status == "matches");
        matching.map(|(test, _)| format!("{suite}::{test}")).collect::<Vec<_>>()
    };
    let mut names: Vec<String> = listed.suites.into_iter().flat_map(of_suite).collect();
    let all = names.len();
    names.retain(|name| !name.starts_with(FUZZ));
    if names.len() < all {
        names.push(FUZZ.to_owned());
    }
    Ok(names)
}

/// A suite of [`SEEDED`] that the listed soaks do not contain: all its seeds would run.
fn without_soak(names: &[String]) -> Option<&'static str> {
    let listed = |suite: &str| names.iter().any(|name| name.starts_with(suite));
    SEEDED.iter().map(|(suite, _)| *suite).find(|suite| !listed(suite))
}

/// Runs one part. Returns whether it passed.
pub fn run(run: &Run<'_>, name: &str) -> Result<bool> {
    let whole = run.size == Size::All;
    let arguments = ["nextest", "run", "--locked", "--workspace", "--lib", "--bins", "--tests"];
    let mut command = cargo(&run.workspace.root, &arguments);
    if name == RANDOM {
        let Some(filter) = random::filter(run.workspace)? else { return Ok(true) };
        command.args(["--stress-duration", if whole { RANDOM_LONG } else { RANDOM_CI }, "-E", &filter]);
    } else {
        command.args(["--run-ignored", "only", "--test-threads", "2", "-E", &filter(name)]);
        if !whole {
            command.env(FUZZ_SECONDS.0, FUZZ_SECONDS.1);
            if let Some((_, count)) = SEEDED.iter().find(|(suite, _)| name.starts_with(suite)) {
                let first = 1 + run.number * count;
                command.env(SEEDS, format!("{first}..{}", first + count));
            }
        }
    }
    Ok(show(&mut command)?.success)
}

/// nextest's filter for a part; suites are `PACKAGE` or `PACKAGE::BINARY`.
fn filter(name: &str) -> String {
    if name == FUZZ {
        return format!("package(=fuzz) & {FILTER}");
    }
    let test = name.rfind("soak").map_or(name, |at| &name[at..]);
    let package = name.split("::").next().unwrap_or_default();
    format!("package(={package}) & test(/(^|::){test}$/)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soaks_are_listed_by_suite() {
        let json = r#"{"rust-build-meta":{},"test-count":2,"rust-suites":{
            "etcd::faults":{"package-name":"etcd","testcases":{
                "killed::soak_members":{"ignored":true,"filter-match":{"status":"matches"}},
                "killed::all":{"ignored":false,"filter-match":{"status":"mismatch","reason":"expression"}}}},
            "fuzz::corpus":{"testcases":{"soak_http":{"filter-match":{"status":"matches"}},
                "soak_log":{"filter-match":{"status":"matches"}}}}}}"#;
        assert_eq!(names(json).unwrap(), ["etcd::faults::killed::soak_members", "fuzz::corpus"]);
        assert!(names("{}").is_err());
    }

    #[test]
    fn a_renamed_suite_is_noticed() {
        let mut names: Vec<_> = SEEDED.iter().map(|(suite, _)| format!("{suite}::soak")).collect();
        assert_eq!(without_soak(&names), None);
        names.remove(0);
        assert_eq!(without_soak(&names), Some(SEEDED[0].0));
    }

    #[test]
    fn one_test_is_selected() {
        assert_eq!(
            filter("etcd::faults::killed::soak_members"),
            "package(=etcd) & test(/(^|::)soak_members$/)"
        );
        assert_eq!(filter("fuzz::corpus"), "package(=fuzz) & test(soak)");
    }
}
