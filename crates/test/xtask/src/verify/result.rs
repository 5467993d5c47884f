//! Results of a step of `cargo verify`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Ended;

/// Outcomes of steps.
pub const FAILED: &str = "FAILED";
pub const SKIPPED: &str = "skipped";
pub const UNCHANGED: &str = "unchanged";

/// Result of a step, or of one lint of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// With a remark, which may be empty. Printed as `partial` if [`StepResult::skipped`] has entries.
    Passed(String),
    Failed(String),
    /// Nothing of it ran, for this reason.
    Skipped(String),
}

/// A part of a step that did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// `STEP/PART`, as `.ci/may-not-run.toml` lists it.
    pub part: String,
    pub reason: String,
}

/// A test, scenario or other part that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// `STEP/PART`.
    pub part: String,
    pub seconds: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    pub name: String,
    pub state: State,
    /// `None` if another line has the time.
    pub took: Option<Duration>,
    /// Parts that did not run, though the step did.
    pub skipped: Vec<Skip>,
    pub timed: Vec<Timed>,
    /// `STEP/PART` of each failed part; empty if the step has no parts, or failed as a whole.
    pub broken: Vec<String>,
    /// Number of parts that did not run, since their inputs have not changed since they passed.
    pub unchanged: usize,
}

impl StepResult {
    pub fn new(name: impl Into<String>, state: State) -> Self {
        Self {
            name: name.into(),
            state,
            took: None,
            skipped: Vec::new(),
            timed: Vec::new(),
            broken: Vec::new(),
            unchanged: 0,
        }
    }

    /// Whether this is a line of the step: `STEP` or `STEP: LINE`.
    pub fn is_of(&self, step: &str) -> bool {
        self.name.strip_prefix(step).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    pub fn failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    /// Everything of this result that did not run.
    pub fn not_run(&self) -> Vec<Skip> {
        match &self.state {
            State::Skipped(reason) if self.skipped.is_empty() => {
                vec![Skip { part: self.name.clone(), reason: reason.clone() }]
            }
            _ => self.skipped.clone(),
        }
    }

    /// The outcome in one word, for the table.
    pub fn outcome(&self) -> &'static str {
        match &self.state {
            State::Failed(_) => FAILED,
            State::Skipped(_) => SKIPPED,
            State::Passed(_) if self.unchanged > 0 && self.timed.is_empty() => UNCHANGED,
            State::Passed(_) if self.skipped.is_empty() => "passed",
            State::Passed(_) => "partial",
        }
    }

    pub fn remark(&self) -> &str {
        match &self.state {
            State::Passed(remark) | State::Failed(remark) | State::Skipped(remark) => remark,
        }
    }
}

/// Describes this number of [`StepResult::unchanged`] parts.
pub fn unchanged_since_passed(count: usize) -> String {
    format!("{count} unchanged since they passed (cargo verify tests runs them)")
}

/// The state of a child's exit.
pub fn judge(ended: &Ended) -> State {
    match ended.code {
        _ if ended.success => State::Passed(String::new()),
        Some(code) => State::Failed(format!("exit code {code}")),
        None => State::Failed("terminated by a signal".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_with_a_skipped_part_is_not_passed() {
        let mut result = StepResult::new("tests", State::Passed(String::new()));
        assert_eq!((result.outcome(), result.not_run().len()), ("passed", 0));
        result.skipped.push(Skip { part: "tests/a".into(), reason: "no root".into() });
        assert_eq!((result.outcome(), result.not_run().len()), ("partial", 1));
        result.state = State::Failed("exit code 1".into());
        assert_eq!(result.outcome(), "FAILED");
        let whole = StepResult::new("ssh", State::Skipped("no sshd".into()));
        assert_eq!(whole.not_run(), [Skip { part: "ssh".into(), reason: "no sshd".into() }]);
    }

    #[test]
    fn a_step_whose_parts_are_all_unchanged_is_not_shown_as_run() {
        let mut result =
            StepResult { unchanged: 9, ..StepResult::new("tests", State::Passed(String::new())) };
        assert_eq!(result.outcome(), UNCHANGED);
        result.skipped.push(Skip { part: "tests/a".into(), reason: "no root".into() });
        assert_eq!((result.outcome(), result.not_run().len()), (UNCHANGED, 1));
        result.timed.push(Timed { part: "tests/b".into(), seconds: 1.0 });
        assert_eq!(result.outcome(), "partial");
        result.state = State::Failed("exit code 1".into());
        assert_eq!(result.outcome(), FAILED);
    }
}
