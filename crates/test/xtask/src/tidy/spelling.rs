//! Texts and comments pass codespell, which `.codespellrc` configures.

use std::process::Command;

use anyhow::{Context, Result};

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const PROGRAM: &str = "codespell";
/// codespell's exit code for misspellings.
const FOUND: i32 = 65;

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    if Command::new(PROGRAM).arg("--version").output().is_err() {
        return Ok(Outcome::Skipped(format!("no {PROGRAM} here (apt-get install {PROGRAM})")));
    }
    let output = Command::new(PROGRAM)
        .arg(".")
        .current_dir(&workspace.root)
        .output()
        .with_context(|| format!("cannot start {PROGRAM}"))?;
    let mut findings: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(finding).collect();
    if !output.status.success() && (findings.is_empty() || output.status.code() != Some(FOUND)) {
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        findings.push(Finding::new(PROGRAM, format!("failed: {cause}")));
    }
    Ok(Outcome::of(findings))
}

/// `./FILE:LINE: WORD ==> CORRECTION`
fn finding(line: &str) -> Finding {
    let (location, text) =
        line.strip_prefix("./").unwrap_or(line).split_once(": ").unwrap_or((PROGRAM, line));
    Finding::new(location, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn a_misspelled_word_is_found_with_its_place() {
        // Split, because this file is checked too.
        let misspelled = ["reciev", "es"].concat();
        let made = with_files(&[("a.rs", &format!("// fine\n// {misspelled}\n"))]);
        match check(&made.workspace).unwrap() {
            Outcome::Checked { findings, .. } => {
                let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
                assert_eq!(lines, [format!("a.rs:2: {misspelled} ==> receives")]);
            }
            Outcome::Skipped(reason) => eprintln!("SKIPPED: tidy::spelling: {reason}"),
        }
    }
}
