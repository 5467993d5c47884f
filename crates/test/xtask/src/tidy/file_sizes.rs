//! A long file states its reason, or is split.

use std::path::Path;

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

/// Number of lines above which a file needs a reason.
const NEEDS_REASON: usize = 400;
/// Number of lines from which no reason is accepted.
const FORBIDDEN: usize = 700;
/// Prefix of the reason, and the number of lines in which it must appear.
const REASON: &str = "Long because ";
const REASON_WITHIN: usize = 30;
const EXTENSIONS: [&str; 3] = ["rs", "sh", "py"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for file in workspace.files.iter().filter(|file| is_code(file)) {
        if let Some(message) = objection(&workspace.read(file)?) {
            findings.push(Finding::new(file.display().to_string(), message));
        }
    }
    Ok(Outcome::of(findings))
}

fn is_code(file: &Path) -> bool {
    file.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

fn objection(text: &str) -> Option<String> {
    let lines = text.lines().count();
    if lines >= FORBIDDEN {
        return Some(format!("{lines} lines: split it, {FORBIDDEN} are too many for any reason"));
    }
    let reasoned = text.lines().take(REASON_WITHIN).any(|line| line.contains(REASON));
    (lines > NEEDS_REASON && !reasoned).then(|| {
        format!("{lines} lines: split it, or say `{REASON}...` within its first {REASON_WITHIN} lines")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    fn check_text(text: &str, expected: usize) {
        let made = with_files(&[("src/a.rs", text), ("golden/long.txt", &"x\n".repeat(FORBIDDEN))]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        assert_eq!(findings.len(), expected, "{findings:?}");
    }

    #[test]
    fn limits() {
        check_text(&"x\n".repeat(NEEDS_REASON), 0);
        check_text(&"x\n".repeat(NEEDS_REASON + 1), 1);
        check_text(&format!("//! Long because it is one table.\n{}", "x\n".repeat(NEEDS_REASON)), 0);
        check_text(&format!("{}// Long because too late\n", "x\n".repeat(NEEDS_REASON)), 1);
        check_text(&format!("//! Long because it is one table.\n{}", "x\n".repeat(FORBIDDEN)), 1);
    }
}
