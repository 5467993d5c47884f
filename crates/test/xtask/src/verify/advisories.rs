//! Advisories for the crates of `Cargo.lock`. Without a copy of the database nothing is verified.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::result::{Skip, State, StepResult};
use crate::advisories::{Outcome, check_with_copy};
use crate::workspace::Workspace;

/// With an older copy the step is not passed as a whole.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(30 * 24);
const NAME: &str = "advisories";

pub fn run(workspace: &Workspace) -> Result<StepResult> {
    Ok(judge(&check_with_copy(&workspace.root)?, Timestamp::now()))
}

fn judge(outcome: &Outcome, now: Timestamp) -> StepResult {
    let (report, date) = match outcome {
        Outcome::Checked { report, date } => (report, *date),
        Outcome::NoCopy => {
            let reason = "no copy of the RustSec advisory database here (cargo xtask advisories --refresh)";
            return StepResult::new(NAME, State::Skipped(reason.to_owned()));
        }
    };
    let day = date.strftime("%Y-%m-%d");
    let state = match report.findings.len() {
        0 => State::Passed(format!(
            "{} crates, {} notes, database of {day}",
            report.crates,
            report.notes.len()
        )),
        count => State::Failed(format!("{count} found, shown above")),
    };
    let mut result = StepResult::new(NAME, state);
    if now.duration_since(date) > MAX_AGE {
        let reason = format!("the copy of the RustSec advisory database is of {day}");
        result.skipped.push(Skip { part: format!("{NAME}/newer"), reason });
    }
    result
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::advisories::check_with;
    use crate::verify::may_not_run::Allowed;

    fn check(root: &Path, now: &str, expect: &str) {
        let outcome = check_with(root, &root.join("copy")).unwrap();
        let result = judge(&outcome, now.parse().unwrap());
        assert_eq!(result.outcome(), expect, "{now}");
        // A strict run on a host without a network must be possible.
        let allowed = Allowed::read(&crate::workspace::root()).unwrap();
        assert!(result.not_run().iter().all(|skip| allowed.allows(skip)), "{:?}", result.not_run());
    }

    #[test]
    fn without_a_new_copy_it_is_not_verified() {
        let folder = tempfile::tempdir().unwrap();
        let (root, copy) = (folder.path(), folder.path().join("copy"));
        check(root, "2026-11-27T00:00:00Z", "skipped");
        fs::create_dir_all(copy.join("crates/a")).unwrap();
        let advisory =
            "```toml\n[advisory]\nid = \"R-1\"\npackage = \"a\"\n[versions]\npatched = [\">= 2\"]\n```\n";
        fs::write(copy.join("crates/a/R-1.md"), advisory).unwrap();
        fs::write(root.join("deny.toml"), "[advisories]\n").unwrap();
        let lock = |version: &str| {
            let text = format!("[[package]]\nname = \"a\"\nversion = \"{version}\"\nsource = \"registry\"\n");
            fs::write(root.join("Cargo.lock"), text).unwrap();
        };
        lock("2.0.0");
        assert!(check_with(root, &copy).is_err(), "a copy without a date");
        fs::write(copy.join("keelson-date"), "2026-11-20T00:00:00Z\n").unwrap();
        check(root, "2026-11-27T00:00:00Z", "passed");
        check(root, "2026-12-21T00:00:00Z", "partial");
        lock("1.0.0");
        check(root, "2026-11-27T00:00:00Z", "FAILED");
    }
}
