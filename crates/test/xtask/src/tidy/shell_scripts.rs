//! Shell scripts pass shellcheck.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const PROGRAM: &str = "shellcheck";
const SHELLS: [&str; 3] = ["sh", "bash", "dash"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let scripts = scripts(workspace)?;
    if scripts.is_empty() {
        return Ok(Outcome::Skipped("there are no shell scripts".into()));
    }
    if Command::new(PROGRAM).arg("--version").output().is_err() {
        return Ok(Outcome::Skipped(format!("no {PROGRAM} here (apt-get install {PROGRAM})")));
    }
    let output = Command::new(PROGRAM)
        .args(["--format=gcc", "--"])
        .args(&scripts)
        .current_dir(&workspace.root)
        .output()
        .with_context(|| format!("cannot start {PROGRAM}"))?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut findings: Vec<_> = report.lines().map(read_line).collect();
    if !output.status.success() && findings.is_empty() {
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        findings.push(Finding::new(PROGRAM, format!("failed: {cause}")));
    }
    Ok(Outcome::of(findings))
}

/// Parses `FILE:LINE:COLUMN: text` of shellcheck's gcc format.
fn read_line(line: &str) -> Finding {
    let (location, text) = line.split_once(": ").unwrap_or((PROGRAM, line));
    Finding::new(location, text)
}

fn scripts(workspace: &Workspace) -> Result<Vec<&Path>> {
    let mut scripts = Vec::new();
    for file in &workspace.files {
        if workspace.read(file).map(|text| is_script(file, &text))? {
            scripts.push(file.as_path());
        }
    }
    Ok(scripts)
}

fn is_script(file: &Path, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    // The interpreter is the first word, or the second one after env.
    let mut words = first.strip_prefix("#!").unwrap_or_default().split_whitespace().take(2);
    file.extension().is_some_and(|extension| extension == "sh")
        || words.any(|word| word.rsplit('/').next().is_some_and(|name| SHELLS.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn scripts_are_known_by_their_first_line_or_ending() {
        let made = with_files(&[
            ("a", "#!/usr/bin/env bash\n"),
            ("b", "#!/bin/sh -e\n"),
            ("c.sh", ""),
            ("d.rs", "#![allow(unused)]\n"),
            ("e.py", "#!/usr/bin/python3\n"),
        ]);
        let names: Vec<_> =
            scripts(&made.workspace).unwrap().iter().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["a", "b", "c.sh"]);
    }

    #[test]
    #[ignore = "wants shellcheck: cargo verify wants"]
    fn a_bad_script_is_found() {
        let made = with_files(&[("bad", "#!/bin/sh\nrm $1\n"), ("good", "#!/bin/sh\nrm \"$1\"\n")]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        assert!(findings.iter().any(|finding| finding.location.starts_with("bad:2")), "{findings:?}");
        assert!(!findings.iter().any(|finding| finding.location.starts_with("good")), "{findings:?}");
    }
}
