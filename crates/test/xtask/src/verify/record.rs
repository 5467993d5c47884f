//! `cargo xtask record`: merges the times of a run into `.ci/costs.json`, by which later runs plan.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::plan::Costs;
use super::report::{Recorded, RecordedStep};
use super::{report, run};
use crate::command::target_folder;
use crate::workspace;

/// Minimal seconds of a recorded part.
const SHORTEST: f64 = 1.0;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// A report of `cargo verify` [default: target/verify/report.json]
    report: Option<PathBuf>,
}

/// Replaces the times of what ran; keeps the others.
pub fn record(flags: &Flags) -> Result<()> {
    let root = workspace::root();
    let path = flags.report.clone().unwrap_or_else(|| target_folder(&root).join(report::FILE));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let report = Recorded::parse(&text).with_context(|| path.display().to_string())?;
    let costs = root.join(run::COSTS);
    let before: Costs = match std::fs::read_to_string(&costs) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is malformed", run::COSTS))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Costs::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", costs.display())),
    };
    let after = serde_json::to_string_pretty(&merge(before, &report))? + "\n";
    std::fs::write(&costs, after).with_context(|| format!("cannot write {}", costs.display()))?;
    eprintln!("written: {}", run::COSTS);
    Ok(())
}

/// Tests of a single binary are not plannable parts: only their step is recorded, if all of them ran.
fn merge(mut costs: Costs, report: &Recorded) -> Costs {
    let whole = report.size != report::PARTS;
    let passed = |step: &&RecordedStep| {
        whole && step.unchanged == 0 && (step.outcome == "passed" || step.outcome == "partial")
    };
    let passed = report.steps.iter().filter(passed);
    let steps = passed.filter_map(|step| Some((step.name.clone(), step.seconds?)));
    let parts = report.parts.iter().filter(|part| !part.part.starts_with("tests/"));
    let parts = parts.map(|part| (part.part.clone(), part.seconds));
    let rounded = |(name, seconds): (String, f64)| (name, seconds.max(SHORTEST).round());
    costs.extend(steps.chain(parts).map(rounded));
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_is_recorded_and_the_rest_is_kept() {
        let report = Recorded::parse(
            r#"{"size":"ci","steps":[{"name":"tests","outcome":"partial","seconds":300.4},
                {"name":"docs","outcome":"FAILED","seconds":2.0},{"name":"wants","outcome":"passed","seconds":3.0,"unchanged":9},{"name":"ssh","outcome":"skipped","seconds":null}],
                "parts":[{"part":"tests/kv::a","seconds":7.0},{"part":"scenarios-qemu/update","seconds":400.0},
                {"part":"scenarios-nspawn/boots","seconds":0.2}]}"#,
        )
        .unwrap();
        let before = Costs::from([("docs".to_owned(), 90.0), ("tests".to_owned(), 1.0)]);
        let expected = [
            ("docs", 90.0),
            ("scenarios-nspawn/boots", 1.0),
            ("scenarios-qemu/update", 400.0),
            ("tests", 300.0),
        ];
        assert!(merge(before, &report).iter().map(|(name, seconds)| (name.as_str(), *seconds)).eq(expected));
    }
}
