//! The final report of `cargo verify`: a table of steps, the slowest parts, slowdowns, and what was not verified.
//! Also stored as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::disk_space::Least;
use super::plan::Costs;
use super::result::{FAILED, SKIPPED, Skip, State, StepResult, Timed, unchanged_since_passed};

/// Path below cargo's target folder.
pub const FILE: &str = "verify/report.json";
/// Size of a run of named parts: the times of its steps are incomplete.
pub const PARTS: &str = "parts";
const SLOWEST: usize = 20;
/// A step is reported if it exceeds its recorded share of the run by this factor.
const SLOWER: f64 = 1.3;
/// Bytes of a failure's reason in the table.
const SHORT: usize = 80;
/// Minimal seconds of a compared step: shorter ones vary too much.
const COMPARED: f64 = 10.0;

/// Content of `target/verify/report.json`.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    pub commit: Option<String>,
    /// `change`, `ci` or `all`; [`PARTS`] if the command line names parts.
    pub size: &'static str,
    pub seconds: f64,
    /// This run's seconds over the recorded ones, of steps with a record.
    pub slowdown: f64,
    pub steps: Vec<StepLine<'a>>,
    /// Every part that ran, slowest first.
    pub parts: Vec<&'a Timed>,
    pub slower: Vec<String>,
    /// Minimal free space on the checkout's disk.
    #[serde(rename = "least_room")]
    pub least_space: Option<Least>,
    pub not_run: Vec<Skip>,
    /// Number of parts that did not run, since their inputs have not changed since they passed.
    pub unchanged: usize,
}

#[derive(Debug, Serialize)]
pub struct StepLine<'a> {
    pub name: &'a str,
    pub outcome: &'static str,
    pub seconds: Option<f64>,
    pub remark: &'a str,
    /// `STEP/PART` of each failed part; empty if the step failed as a whole.
    pub failed: &'a [String],
    /// The step's share of [`Report::unchanged`].
    pub unchanged: usize,
}

/// A stored report.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    pub size: String,
    pub steps: Vec<RecordedStep>,
    pub parts: Vec<Timed>,
}

#[derive(Debug, Deserialize)]
pub struct RecordedStep {
    pub name: String,
    pub outcome: String,
    pub seconds: Option<f64>,
    #[serde(default)]
    remark: String,
    #[serde(default)]
    pub unchanged: usize,
}

impl Recorded {
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("malformed report")
    }

    /// The results of steps without parts. Their times are those of another run, and left out.
    pub fn results(self) -> Vec<StepResult> {
        let results = self.steps.into_iter().map(|step| {
            let state = match step.outcome.as_str() {
                FAILED => State::Failed(step.remark),
                SKIPPED => State::Skipped(step.remark),
                _ => State::Passed(step.remark),
            };
            StepResult::new(step.name, state)
        });
        results.collect()
    }
}

impl<'a> Report<'a> {
    pub fn new(results: &'a [StepResult], costs: &Costs, size: &'static str, commit: Option<String>) -> Self {
        let mut parts: Vec<&Timed> = results.iter().flat_map(|result| &result.timed).collect();
        parts.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let steps = results.iter().map(|result| StepLine {
            name: &result.name,
            outcome: result.outcome(),
            seconds: result.took.map(|took| took.as_secs_f64()),
            remark: result.remark(),
            failed: &result.broken,
            unchanged: result.unchanged,
        });
        Self {
            commit,
            size,
            seconds: total(results).as_secs_f64(),
            slowdown: slowdown(results, costs),
            steps: steps.collect(),
            parts,
            slower: slower(results, costs),
            least_space: None,
            not_run: results.iter().flat_map(StepResult::not_run).collect(),
            unchanged: results.iter().map(|result| result.unchanged).sum(),
        }
    }

    /// The final lines of the run.
    pub fn text(&self) -> String {
        let mut text = table(&self.steps);
        if !self.parts.is_empty() {
            text += &format!("\n slowest {} of {}\n", SLOWEST.min(self.parts.len()), self.parts.len());
        }
        for part in self.parts.iter().take(SLOWEST) {
            // invariant: writing to a String does not fail.
            writeln!(text, " {:>8.1} s  {}", part.seconds, part.part).unwrap_or_default();
        }
        for line in &self.slower {
            writeln!(text, "\n slower than recorded: {line}").unwrap_or_default();
        }
        if let Some(Least { mib, step }) = self.least_space {
            writeln!(text, "\n least room on the disk: {mib} MiB, in {step}").unwrap_or_default();
        }
        if !self.not_run.is_empty() {
            text += "\n not verified\n";
        }
        for skip in &self.not_run {
            writeln!(text, "   {}: {}", skip.part, skip.reason).unwrap_or_default();
        }
        // Last: logs of CI are often cut to their end.
        let failed: Vec<_> = self.steps.iter().filter(|step| step.outcome == FAILED).collect();
        if !failed.is_empty() {
            text += "\n failed\n";
        }
        for step in failed {
            let parts = if step.failed.is_empty() { step.name } else { &step.failed.join(", ") };
            writeln!(text, "   {parts}: {}", step.remark).unwrap_or_default();
        }
        text
    }

    /// The last line: what was covered, and what was not.
    pub fn coverage(&self) -> String {
        let count =
            |outcomes: &[&str]| self.steps.iter().filter(|step| outcomes.contains(&step.outcome)).count();
        let unchanged = match self.unchanged {
            0 => String::new(),
            count => format!("; {}", unchanged_since_passed(count)),
        };
        format!(
            "{} steps and {} parts verified in {:.0} s, {} failed; not verified: {}{unchanged}",
            count(&["passed", "partial"]),
            self.parts.len(),
            self.seconds,
            count(&[FAILED]),
            self.not_run.len(),
        )
    }
}

fn total(results: &[StepResult]) -> Duration {
    results.iter().filter_map(|result| result.took).sum()
}

fn table(steps: &[StepLine<'_>]) -> String {
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let width = longest(&mut steps.iter().map(|step| step.name.len()));
    let outcome_width = longest(&mut steps.iter().map(|step| step.outcome.len()));
    let mut text = String::new();
    for step in steps {
        let time = step.seconds.map_or(String::new(), |seconds| format!("{seconds:.1} s"));
        // Failures follow below the table in full.
        let remark = if step.outcome == FAILED {
            step.remark.get(..SHORT).unwrap_or(step.remark)
        } else {
            step.remark
        };
        let line = format!(" {:<width$}  {:<outcome_width$}  {time:>8}  {remark}", step.name, step.outcome);
        // invariant: writing to a String does not fail.
        writeln!(text, "{}", line.trim_end()).unwrap_or_default();
    }
    text
}

/// Seconds and recorded seconds of steps that passed, are long enough to compare, and have a record. A step whose
/// parts vary is compared by the parts that ran; one with unchanged parts, whose record is of all, is not compared.
fn compared<'a>(results: &'a [StepResult], costs: &Costs) -> Vec<(&'a str, f64, f64)> {
    results
        .iter()
        .filter(|result| matches!(result.state, State::Passed(_)) && result.unchanged == 0)
        .filter_map(|result| {
            let of_parts =
                result.timed.iter().filter_map(|part| Some((part.seconds, *costs.get(&part.part)?)));
            let (now, recorded) = match of_parts.reduce(|sum, part| (sum.0 + part.0, sum.1 + part.1)) {
                Some(of_parts) => of_parts,
                None => (result.took?.as_secs_f64(), costs.get(&result.name).copied()?),
            };
            (recorded >= COMPARED).then_some((result.name.as_str(), now, recorded))
        })
        .collect()
}

/// Factor by which the run's steps together exceeded their record; 1 without a record.
pub fn slowdown(results: &[StepResult], costs: &Costs) -> f64 {
    let compared = compared(results, costs);
    let (now, recorded) =
        compared.iter().fold((0.0, 0.0), |(now, recorded), step| (now + step.1, recorded + step.2));
    if recorded > 0.0 { now / recorded } else { 1.0 }
}

/// Steps whose share of the run grew, independent of the host's speed.
fn slower(results: &[StepResult], costs: &Costs) -> Vec<String> {
    let slowdown = slowdown(results, costs);
    let compared = compared(results, costs);
    let grown = compared.into_iter().filter(|(_, now, recorded)| *now > recorded * slowdown * SLOWER);
    grown
        .map(|(name, now, recorded)| {
            format!(
                "{name}: {now:.0} s, {:.0} s expected on this host ({recorded:.0} s recorded)",
                recorded * slowdown
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, state: State, seconds: u64) -> StepResult {
        StepResult { took: Some(Duration::from_secs(seconds)), ..StepResult::new(name, state) }
    }

    fn passed(name: &str, seconds: u64) -> StepResult {
        result(name, State::Passed(String::new()), seconds)
    }

    fn costs(recorded: &[(&str, f64)]) -> Costs {
        recorded.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect()
    }

    #[test]
    fn the_end_of_a_run_names_everything() {
        let mut tests = passed("tests", 12);
        tests.timed.push(Timed { part: "tests/kv::b".into(), seconds: 0.5 });
        tests.timed.push(Timed { part: "tests/kv::a".into(), seconds: 7.25 });
        tests.skipped.push(Skip { part: "tests/kv::c".into(), reason: "no namespaces".into() });
        let results = [
            passed("format", 1),
            tests,
            StepResult::new("ssh", State::Skipped("no sshd".into())),
            result("docs", State::Failed("exit code 1".into()), 3),
        ];
        let report = Report::new(&results, &Costs::new(), "change", None);
        let expected = " format  passed      1.0 s\n tests   partial    12.0 s\n ssh     skipped            no sshd\n \
            docs    FAILED      3.0 s  exit code 1\n\n slowest 2 of 2\n      7.2 s  tests/kv::a\n      0.5 s  \
            tests/kv::b\n\n not verified\n   tests/kv::c: no namespaces\n   ssh: no sshd\n\n failed\n   docs: exit code 1\n";
        assert_eq!(report.text(), expected);
        let expected = "2 steps and 2 parts verified in 16 s, 1 failed; not verified: 2";
        assert_eq!(report.coverage(), expected);
    }

    #[test]
    fn unchanged_parts_are_named_and_not_compared() {
        let mut tests = passed("tests", 12);
        tests.timed.push(Timed { part: "tests/kv::a".into(), seconds: 0.5 });
        tests.unchanged = 2_593;
        let results = [passed("clippy", 300), tests];
        let costs = costs(&[("clippy", 100.0), ("tests", 100.0)]);
        let report = Report::new(&results, &costs, "change", None);
        let expected = "2 steps and 1 parts verified in 312 s, 0 failed; not verified: 0; \
            2593 unchanged since they passed (cargo verify tests runs them)";
        assert_eq!(report.coverage(), expected);
        assert!((report.slowdown - 3.0).abs() < 0.01, "of clippy only: {}", report.slowdown);
        assert!(report.slower.is_empty(), "{:?}", report.slower);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["unchanged"], &json["steps"][1]["unchanged"]), (&2_593.into(), &2_593.into()));
    }

    #[test]
    fn results_are_read_back() {
        let results = [
            passed("format", 1),
            StepResult::new("ssh", State::Skipped("no sshd".into())),
            result("docs: manual", State::Failed("shown above".into()), 3),
        ];
        let text = serde_json::to_string(&Report::new(&results, &Costs::new(), PARTS, None)).unwrap();
        let read = Recorded::parse(&text).unwrap().results();
        assert!(read.iter().map(|result| &result.state).eq(results.iter().map(|result| &result.state)));
        assert!(read.iter().all(|result| result.took.is_none() && result.skipped.is_empty()));
        assert!(Recorded::parse("{}").is_err());
    }

    #[test]
    fn a_slow_host_is_distinguished_from_a_slow_step() {
        let costs = costs(&[("clippy", 100.0), ("tests", 100.0), ("image", 100.0), ("format", 1.0)]);
        let even = [passed("clippy", 300), passed("tests", 320), passed("image", 280), passed("format", 90)];
        assert!((slowdown(&even, &costs) - 3.0).abs() < 0.01);
        assert!(slower(&even, &costs).is_empty());
        let one = [passed("clippy", 100), passed("tests", 250), passed("image", 100)];
        let found = slower(&one, &costs);
        assert!(found.len() == 1 && found[0].starts_with("tests: 250 s, 150 s expected"), "{found:?}");
        assert!((slowdown(&[passed("new", 9)], &costs) - 1.0).abs() < f64::EPSILON);
    }
}
