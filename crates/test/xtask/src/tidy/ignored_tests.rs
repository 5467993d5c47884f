//! Each ignored test names the step of `cargo verify` that runs it, or the test that starts it.

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const ATTRIBUTE: &str = "#[ignore";
const STEP: &str = "cargo verify ";
/// The step that runs tests whose names contain [`SOAK`].
const SOAKS: &str = "cargo verify --all soaks";
const SOAK: &str = "soak";
/// Prefix of the name of the test that runs it in a separate process.
const STARTED_BY: &str = "started by ";

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for file in workspace.files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        let text = workspace.read(file)?;
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let Some(rest) = line.trim_start().strip_prefix(ATTRIBUTE) else { continue };
            let reason = rest.strip_prefix(" = \"").and_then(|reason| reason.strip_suffix("\"]"));
            let name =
                lines.clone().find_map(|(_, line)| line.trim_start().split_once("fn ")).map(|(_, name)| name);
            if let Some(problem) = problem(reason.unwrap_or_default(), name.unwrap_or_default()) {
                findings.push(Finding::new(format!("{}:{}", file.display(), index + 1), problem));
            }
        }
    }
    Ok(Outcome::of(findings))
}

/// `signature` is the text after `fn`.
fn problem(reason: &str, signature: &str) -> Option<&'static str> {
    let is_soak = signature.split('(').next().is_some_and(|name| name.contains(SOAK));
    match (is_soak, reason.ends_with(SOAKS)) {
        (true, false) => Some("a test named soak is run by `cargo verify --all soaks`: say so in its reason"),
        (false, true) => Some("the soaks are the tests whose names contain `soak`: this one is not run"),
        (true, true) => None,
        (false, false) if reason.contains(STEP) || reason.starts_with(STARTED_BY) => None,
        (false, false) => {
            Some("the reason names neither a step of `cargo verify` nor the test that starts it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    fn check_test(attribute: &str, name: &str, expected: &[&str]) {
        let text = format!("fn before() {{}}\n\n#[test]\n{attribute}\nfn {name}() {{\n}}\n");
        let made = with_files(&[("crates/a/tests/b.rs", &text)]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let got: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let expected: Vec<_> = expected.iter().map(|text| format!("crates/a/tests/b.rs:4: {text}")).collect();
        assert_eq!(got, expected, "{attribute} {name}");
    }

    #[test]
    fn a_step_or_a_test_is_named() {
        let none = "the reason names neither a step of `cargo verify` nor the test that starts it";
        check_test("#[ignore = \"needs root: cargo verify wants\"]", "a", &[]);
        check_test("#[ignore = \"started by the others\"]", "a", &[]);
        check_test("#[ignore = \"needs Debian's etcd-server\"]", "a", &[none]);
        check_test("#[ignore]", "a", &[none]);
        check_test("#[cfg(unix)]", "a", &[]);
    }

    #[test]
    fn soaks_are_selected_by_name() {
        let soaks = "#[ignore = \"many seeds: cargo verify --all soaks\"]";
        check_test(soaks, "soak_a", &[]);
        let unnamed = "the soaks are the tests whose names contain `soak`: this one is not run";
        check_test(soaks, "a", &[unnamed]);
        let unsaid = "a test named soak is run by `cargo verify --all soaks`: say so in its reason";
        check_test("#[ignore = \"many seeds\"]", "soak_a", &[unsaid]);
    }
}
