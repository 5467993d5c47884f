//! Runs the scenarios of `qemu/` on one back end, through `cargo keelson test`.
//!
//! What counts is keelson's own JSON: a scenario that this host can not run is skipped, not passed.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::result::State;
use crate::command::show_and_read;
use crate::keelson;
use crate::reference::Reference;
use crate::workspace::Workspace;

/// The program that runs scenarios.
const PACKAGE: &str = "keelson";

/// What `keelson test --json` prints: the counts are its contract, the list says why.
#[derive(Debug, Deserialize)]
struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
    #[serde(default)]
    scenarios: Vec<Ran>,
}

#[derive(Debug, Deserialize)]
struct Ran {
    scenario: String,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    result: String,
    why: Option<String>,
}

/// Scenarios at a time. On nspawn nodes they mostly wait; emulated machines have no processor to spare.
fn jobs(back_end: &str) -> &'static str {
    if back_end == "nspawn" { "3" } else { "1" }
}

/// Every scenario on `back_end` (`nspawn` or `qemu`); `long` adds the soaks among them.
pub fn run(workspace: &Workspace, back_end: &str, long: bool) -> Result<State> {
    if !workspace.has_package(PACKAGE) {
        return Ok(State::Skipped(format!("crate {PACKAGE} is not in this checkout")));
    }
    // Without names keelson runs all that there are.
    let mut command = Command::new(keelson::build(&workspace.root)?);
    command.args(["--json", "test", "--on", back_end, "--jobs", jobs(back_end)]);
    command.current_dir(&workspace.root);
    if long {
        command.arg("--long");
    }
    // Where it is not to be had, the scenario that wants it says so.
    if let Ok(reference) = Reference::of_target(&workspace.root) {
        command.env(Reference::VARIABLE, reference.etcd);
    }
    let ended = show_and_read(&mut command)?;
    judge(ended.success, ended.code, &ended.stdout)
}

fn judge(success: bool, code: Option<i32>, stdout: &str) -> Result<State> {
    let code = code.map_or("none (a signal)".into(), |code| code.to_string());
    if stdout.trim().is_empty() {
        return Ok(State::Failed(format!("keelson test gave no result, exit code {code}")));
    }
    let report: Report =
        serde_json::from_str(stdout).context("keelson test --json printed something else")?;
    let counts = format!("{} passed, {} failed, {} skipped", report.passed, report.failed, report.skipped);
    Ok(match &report {
        Report { failed: 1.., .. } => State::Failed(counts + &reasons(&report, "failed")),
        _ if !success => State::Failed(format!("{counts}, exit code {code}")),
        Report { passed: 0, skipped: 0, .. } => State::Failed("there was no scenario to run".into()),
        Report { passed: 0, .. } => State::Skipped(counts + &reasons(&report, "skipped")),
        Report { .. } => State::Passed(counts + &reasons(&report, "skipped")),
    })
}

/// `; NAME: why` for each scenario with that result.
fn reasons(report: &Report, result: &str) -> String {
    let those = report.scenarios.iter().filter(|ran| ran.outcome.result == result);
    those
        .map(|ran| {
            format!("; {}: {}", ran.scenario, ran.outcome.why.as_deref().unwrap_or("no reason was given"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(success: bool, stdout: &str, expected: State) {
        assert_eq!(judge(success, Some(i32::from(!success)), stdout).unwrap(), expected);
    }

    #[test]
    fn only_what_ran_and_passed_is_passed() {
        check(
            true,
            r#"{"passed":3,"failed":0,"skipped":0}"#,
            State::Passed("3 passed, 0 failed, 0 skipped".into()),
        );
        check(
            true,
            r#"{"passed":0,"failed":0,"skipped":1,"scenarios":[{"scenario":"boots","on":"nspawn",
                "seconds":0.1,"outcome":{"result":"skipped","why":"needs root"}}]}"#,
            State::Skipped("0 passed, 0 failed, 1 skipped; boots: needs root".into()),
        );
        check(
            false,
            r#"{"passed":1,"failed":1,"skipped":0,"scenarios":[
                {"scenario":"boots","outcome":{"result":"passed"}},
                {"scenario":"lan","outcome":{"result":"failed","why":"no answer","kept":"/x"}}]}"#,
            State::Failed("1 passed, 1 failed, 0 skipped; lan: no answer".into()),
        );
        check(
            false,
            r#"{"passed":1,"failed":0,"skipped":0}"#,
            State::Failed("1 passed, 0 failed, 0 skipped, exit code 1".into()),
        );
        check(
            true,
            r#"{"passed":0,"failed":0,"skipped":0}"#,
            State::Failed("there was no scenario to run".into()),
        );
        check(false, "", State::Failed("keelson test gave no result, exit code 1".into()));
    }

    #[test]
    fn a_report_of_another_shape_is_an_error() {
        assert!(judge(true, Some(0), r#"{"passed":1}"#).is_err());
        assert!(judge(true, Some(0), "all fine").is_err());
    }
}
