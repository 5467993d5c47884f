//! Runs the scenarios of `qemu/` on one back end, through `cargo keelson test`.
//!
//! What counts is keelson's own JSON: a scenario that this host can not run is skipped, not passed.

use anyhow::{Context, Result};
use serde_json::Value;

use super::result::State;
use crate::command::{cargo, show_and_read};
use crate::workspace::Workspace;

/// The program that runs scenarios.
const PACKAGE: &str = "keelson";

/// Every scenario on `back_end` (`nspawn` or `qemu`); `long` adds the soaks among them.
pub fn run(workspace: &Workspace, back_end: &str, long: bool) -> Result<State> {
    if !workspace.has_package(PACKAGE) {
        return Ok(State::Skipped(format!("crate {PACKAGE} is not in this checkout")));
    }
    let mut words = vec!["run", "--locked", "--quiet", "--profile", "tool", "--package", PACKAGE, "--"];
    words.extend(["test", "--all", "--on", back_end, "--json"]);
    if long {
        words.push("--long");
    }
    let ended = show_and_read(&mut cargo(&workspace.root, &words))?;
    judge(ended.success, ended.code, &ended.stdout)
}

fn judge(success: bool, code: Option<i32>, stdout: &str) -> Result<State> {
    if stdout.trim().is_empty() {
        return Ok(State::Failed(format!("keelson test said nothing, exit code {}", shown_code(code))));
    }
    let report: Value =
        serde_json::from_str(stdout).context("keelson test --json printed no JSON document")?;
    let (passed, failed, skipped) =
        (count(&report["passed"])?, count(&report["failed"])?, count(&report["skipped"])?);
    let counts = format!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(match () {
        () if failed > 0 => State::Failed(counts),
        () if !success => State::Failed(format!("{counts}, exit code {}", shown_code(code))),
        () if passed == 0 && skipped == 0 => State::Failed("there was no scenario to run".into()),
        () if passed == 0 => State::Skipped(format!("{counts}: {}", reasons(&report))),
        () if skipped > 0 => State::Passed(format!("{counts}: {}", reasons(&report))),
        () => State::Passed(counts),
    })
}

fn shown_code(code: Option<i32>) -> String {
    code.map_or("none (a signal)".into(), |code| code.to_string())
}

/// The contract names three keys; each may be a number or a list of what it counts.
fn count(value: &Value) -> Result<usize> {
    match value {
        Value::Array(list) => Ok(list.len()),
        other => {
            let number = other.as_u64().context("keelson test --json lacks passed, failed or skipped")?;
            Ok(usize::try_from(number)?)
        }
    }
}

/// Each different `reason` of the report, wherever it stands in it.
fn reasons(report: &Value) -> String {
    fn gather(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name == "reason" && !found.iter().any(|known| known == text) => {
                            found.push(text.to_owned());
                        }
                        _ => gather(value, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| gather(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    gather(report, &mut found);
    if found.is_empty() { "no reason was given".into() } else { found.join("; ") }
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
            r#"{"passed":[],"failed":[],"skipped":[{"name":"boots","reason":"needs root"}]}"#,
            State::Skipped("0 passed, 0 failed, 1 skipped: needs root".into()),
        );
        check(
            false,
            r#"{"passed":1,"failed":1,"skipped":0}"#,
            State::Failed("1 passed, 1 failed, 0 skipped".into()),
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
        check(false, "", State::Failed("keelson test said nothing, exit code 1".into()));
    }

    #[test]
    fn a_report_of_another_shape_is_an_error() {
        assert!(judge(true, Some(0), r#"{"passed":1}"#).is_err());
        assert!(judge(true, Some(0), "all fine").is_err());
    }
}
