//! Formats the outcomes of mutants as text and JSON.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::mutant::Mutant;

#[derive(Debug)]
pub enum Outcome {
    /// Every test failed for the expected reason.
    Caught,
    /// These tests passed with the mutation applied.
    Survived(Vec<String>),
    /// A snippet does not match exactly one place of the tree.
    Stale(String),
    /// With the path of the log.
    DoesNotCompile(PathBuf),
    /// The tests failed for another reason: description, and log.
    OtherFailure(String, PathBuf),
    TimedOut(Duration),
    /// The tests do not pass without the mutation, or do not exist.
    NoBaseline(String),
}

pub struct Report {
    pub name: String,
    pub promise: String,
    pub outcome: Outcome,
    pub took: Duration,
}

impl Report {
    pub fn new(mutant: &Mutant, outcome: Outcome, took: Duration) -> Self {
        Self { name: mutant.name.clone(), promise: mutant.promise.clone(), outcome, took }
    }
}

impl Outcome {
    fn label(&self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Survived(_) => "survived",
            Self::Stale(_) => "stale",
            Self::DoesNotCompile(_) => "does not compile",
            Self::OtherFailure(..) => "failed otherwise",
            Self::TimedOut(_) => "timed out",
            Self::NoBaseline(_) => "no baseline",
        }
    }
}

/// In the order of the summary.
const LABELS: [&str; 7] =
    ["caught", "survived", "stale", "does not compile", "failed otherwise", "timed out", "no baseline"];
/// Number of leading outcomes that are printed even if their count is zero.
const ALWAYS: usize = 3;

impl fmt::Display for Outcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label();
        match self {
            Self::Caught => to.write_str(label),
            Self::Survived(passed) => write!(to, "SURVIVED: {} passed", passed.join(", ")),
            Self::Stale(why) | Self::NoBaseline(why) => write!(to, "{label}: {why}"),
            Self::DoesNotCompile(log) => write!(to, "{label}: {}", log.display()),
            Self::OtherFailure(why, log) => write!(to, "{label}: {why} ({})", log.display()),
            Self::TimedOut(limit) => write!(to, "{label} after {} s", limit.as_secs()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, promise, outcome, took } = self;
        write!(to, "{name} [{:.1} s] {outcome}\n    {promise}", took.as_secs_f32())
    }
}

/// `N caught, N survived, N stale`, and other outcomes with a nonzero count.
pub fn summary(reports: &[Report]) -> String {
    let mut parts = Vec::new();
    for (index, label) in LABELS.iter().enumerate() {
        let count = reports.iter().filter(|report| report.outcome.label() == *label).count();
        if index < ALWAYS || count > 0 {
            parts.push(format!("{count} {label}"));
        }
    }
    parts.join(", ")
}

pub fn json(reports: &[Report]) -> serde_json::Result<String> {
    let mutants: Vec<_> = reports
        .iter()
        .map(|Report { name, promise, outcome, took }| {
            let (label, detail) = (outcome.label(), outcome.to_string());
            json!({ "name": name, "promise": promise, "outcome": label, "detail": detail,
                "seconds": took.as_secs_f32() })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "mutants": mutants, "summary": summary(reports) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report { name: "a/b".into(), promise: "It holds.".into(), outcome, took: Duration::from_millis(1500) }
    }

    #[test]
    fn the_summary_counts_every_outcome() {
        let reports = [Outcome::Caught, Outcome::Caught, Outcome::Survived(vec!["t".into()])].map(report);
        assert_eq!(summary(&reports), "2 caught, 1 survived, 0 stale");
        let reports = [Outcome::DoesNotCompile("log".into()), Outcome::Caught].map(report);
        assert_eq!(summary(&reports), "1 caught, 0 survived, 0 stale, 1 does not compile");
    }

    #[test]
    fn a_line_and_a_document_say_the_same() {
        let report = report(Outcome::Survived(vec!["t::one".into()]));
        assert_eq!(report.to_string(), "a/b [1.5 s] SURVIVED: t::one passed\n    It holds.");
        let document: serde_json::Value = serde_json::from_str(&json(&[report]).unwrap()).unwrap();
        let expected = json!({ "name": "a/b", "promise": "It holds.", "outcome": "survived",
            "detail": "SURVIVED: t::one passed", "seconds": 1.5 });
        assert_eq!(document["mutants"][0], expected);
        assert_eq!(document["summary"], "0 caught, 1 survived, 0 stale");
    }
}
