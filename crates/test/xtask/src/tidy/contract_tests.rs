//! The cloud-config contract's table names only tests and scenarios that exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const TABLE: &str = "docs/cloud-config-contract.md";
const SCENARIOS: &str = "qemu/";
/// Entry of a row without a test.
const NOT_COVERED: &str = "not covered";
/// Prefix of a scenario's name.
const SCENARIO: &str = "scenario ";

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    if !workspace.files.iter().any(|file| file == Path::new(TABLE)) {
        return Ok(Outcome::of(Vec::new()));
    }
    let scenarios = scenarios(workspace)?;
    let mut findings = Vec::new();
    for (index, line) in workspace.read(Path::new(TABLE))?.lines().enumerate() {
        let Some((_, held)) = line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) else { continue };
        if held.starts_with("held by") {
            continue;
        }
        let wrong = row(workspace, &scenarios, held)?;
        let location = format!("{TABLE}:{}", index + 1);
        findings.extend(wrong.into_iter().map(|message| Finding::new(location.clone(), message)));
    }
    Ok(Outcome::of(findings))
}

/// Returns what is wrong with the names of one row.
fn row(workspace: &Workspace, scenarios: &BTreeSet<String>, held: &str) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut named = 0;
    let mut file: Option<(&str, String)> = None;
    let mut before = "";
    // Every second piece is between backticks.
    for (index, piece) in held.split('`').enumerate() {
        if index % 2 == 0 {
            before = piece;
        } else if before.ends_with(SCENARIO) {
            named += 1;
            if !scenarios.contains(piece) {
                wrong.push(format!("there is no scenario `{piece}`"));
            }
        } else if piece.ends_with(".rs") {
            file = None;
            if workspace.files.iter().any(|file| file == Path::new(piece)) {
                file = Some((piece, workspace.read(Path::new(piece))?));
            } else {
                wrong.push(format!("there is no file `{piece}`"));
            }
        } else if before.trim().is_empty()
            && let Some((path, text)) = &file
        {
            named += 1;
            if !has_test(text, piece) {
                wrong.push(format!("there is no test `{piece}` in {path}"));
            }
        }
    }
    if named == 0 && wrong.is_empty() && !held.contains(NOT_COVERED) {
        wrong.push("the row names no test, and does not say why it is not covered".to_owned());
    }
    Ok(wrong)
}

/// Whether it is a function, or a name that a macro generates tests from.
fn has_test(text: &str, name: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|line| line.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
            || line.strip_prefix(name).is_some_and(|rest| rest.starts_with(" soak_"))
    })
}

/// Names of all scenarios, as they are declared.
pub fn scenarios(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let name = |line: &str| Some(line.trim().strip_prefix("name: \"")?.strip_suffix("\",")?.to_owned());
    let mut names = BTreeSet::new();
    for file in workspace.files.iter().filter(|file| file.starts_with(SCENARIOS)) {
        names.extend(workspace.read(file)?.lines().filter_map(name));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    fn check_row(row: &str, expected: &[&str]) {
        let table = format!("| item | held by |\n|---|---|\n| x | {row} |\n");
        let made = with_files(&[
            (TABLE, &table),
            ("crates/a/tests/b.rs", "#[test]\nfn good() {}\nmod m {\n    #[test]\n    fn inner() {}\n}\n"),
            ("crates/a/tests/m.rs", "targets! {\n    yaml soak_yaml\n}\n"),
            ("qemu/scenarios/c.rs", "    name: \"boots\",\n"),
        ]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let got: Vec<_> = findings.iter().map(|finding| &*finding.message).collect();
        assert_eq!(got, expected, "{row}");
    }

    #[test]
    fn what_exists_passes() {
        check_row("`crates/a/tests/b.rs` `good` `inner`, scenario `boots`", &[]);
        check_row("`crates/a/tests/m.rs` `yaml`", &[]);
        check_row("not covered: the thing is not there", &[]);
        check_row("scenario `boots`; the rest not covered beyond `unit-files`", &[]);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        check_row("`crates/a/tests/b.rs` `goo`", &["there is no test `goo` in crates/a/tests/b.rs"]);
        check_row("`crates/a/tests/b.rs` `good` `gone`", &["there is no test `gone` in crates/a/tests/b.rs"]);
        check_row("`crates/a/tests/x.rs` `good`", &["there is no file `crates/a/tests/x.rs`"]);
        check_row("scenario `boot`", &["there is no scenario `boot`"]);
        check_row("nobody", &["the row names no test, and does not say why it is not covered"]);
    }
}
