//! The tables of docs/security.md and docs/reliability.md name only tests, scenarios and mutants that exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::contract_tests::scenarios;
use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const TABLES: [&str; 2] = ["docs/security.md", "docs/reliability.md"];
/// Headers of the columns that name tests.
const TESTS: [&str; 2] = ["test", "held by"];
/// Header of the column that names mutants: `AREA/NAME`, files below [`MUTANTS`].
const KEPT: &str = "kept mutants";
const MUTANTS: &str = "crates/test/xtask/mutants";

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let tables: Vec<&Path> = TABLES
        .iter()
        .map(Path::new)
        .filter(|table| workspace.files.iter().any(|file| file == table))
        .collect();
    if tables.is_empty() {
        return Ok(Outcome::of(Vec::new()));
    }
    let known = Known::of(workspace)?;
    let mut findings = Vec::new();
    for table in tables {
        let text = workspace.read(table)?;
        let mut columns: Option<Vec<String>> = None;
        for (index, line) in text.lines().enumerate() {
            let Some(cells) = cells(line) else {
                columns = None;
                continue;
            };
            let Some(columns) = &columns else {
                columns = Some(cells.into_iter().map(str::to_owned).collect());
                continue;
            };
            for (column, cell) in columns.iter().zip(cells) {
                let unknown = names(cell).filter(|name| !known.has(column, name));
                findings.extend(unknown.map(|name| {
                    Finding::new(format!("{}:{}", table.display(), index + 1), format!("there is no {name}"))
                }));
            }
        }
    }
    Ok(Outcome::of(findings))
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split(" | ").map(str::trim).collect())
}

/// Code spans without commands, options, variables and paths; the rule `links` checks paths.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    let spans = cell.split('`').skip(1).step_by(2);
    spans.filter(|span| {
        let is_path = span.starts_with("crates/");
        let is_variable = span.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        !is_path && !is_variable && !span.contains(' ') && !span.starts_with('-')
    })
}

/// Names that the tables may use.
struct Known {
    /// Functions and modules.
    rust: BTreeSet<String>,
    packages: BTreeSet<String>,
    scenarios: BTreeSet<String>,
    /// `AREA/NAME`.
    mutants: BTreeSet<String>,
}

impl Known {
    fn of(workspace: &Workspace) -> Result<Self> {
        let mut known = Self {
            rust: BTreeSet::new(),
            packages: workspace.packages.iter().map(|package| package.name.clone()).collect(),
            scenarios: scenarios(workspace)?,
            mutants: BTreeSet::new(),
        };
        for file in &workspace.files {
            if let Ok(mutant) = file.strip_prefix(MUTANTS) {
                known.mutants.insert(mutant.with_extension("").display().to_string());
            }
            if file.extension().is_none_or(|kind| kind != "rs") {
                continue;
            }
            let parts = file.with_extension("");
            known.rust.extend(parts.iter().map(|part| part.to_string_lossy().into_owned()));
            let text = workspace.read(file)?;
            known.rust.extend(text.lines().filter_map(declared).map(str::to_owned));
        }
        Ok(known)
    }

    fn has(&self, column: &str, name: &str) -> bool {
        if column == KEPT && name.contains('/') {
            return self.mutants.contains(name);
        }
        if column != KEPT && !TESTS.contains(&column) {
            return true;
        }
        self.packages.contains(name)
            || self.scenarios.contains(name)
            || name.split("::").all(|part| part == "*" || self.rust.contains(part))
    }
}

/// The function or module that a line declares, or the test that a macro generates on it.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let behind = |keyword: &str| line.split_once(keyword).map(|(_, rest)| rest);
    let generated = || line.split_once(" soak_").map(|(name, _)| name);
    let found = behind("fn ").or_else(|| behind("mod ")).or_else(generated)?;
    let end = found.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(found.len());
    Some(&found[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    fn check_row(row: &str, expected: &[&str]) {
        let table = format!("# Title\n\n| attack | test | kept mutants |\n|---|---|---|\n{row}\n");
        let made = with_files(&[
            ("docs/security.md", &table),
            ("crates/a/tests/faults/killed.rs", "async fn all_members() {}\n    mod inner {\n"),
            ("crates/a/tests/m.rs", "targets! {\n    yaml soak_yaml\n}\n"),
            ("crates/test/xtask/mutants/etcd/slow.toml", ""),
            ("qemu/scenarios/c.rs", "    name: \"boots\",\n"),
        ]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let got: Vec<_> = findings.iter().map(|finding| &*finding.message).collect();
        assert_eq!(got, expected, "{row}");
    }

    #[test]
    fn what_exists_passes() {
        check_row("| `what` | `killed::all_members`, `inner`, `killed::*` | `etcd/slow` |", &[]);
        check_row("| x | `yaml`, scenario `boots`, `cargo verify ssh`, `--long` `A_VARIABLE` | none |", &[]);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        check_row(
            "| x | `all_member` | `etcd/slower` |",
            &["there is no all_member", "there is no etcd/slower"],
        );
        check_row(
            "| x | `gone::all_members`, `boot` | none |",
            &["there is no gone::all_members", "there is no boot"],
        );
    }
}
