//! How a step ended, and the table of all of them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::command::Ended;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// With what there is to say about it, or nothing.
    Passed(String),
    Failed(String),
    /// With the reason: never counted as passed.
    Skipped(String),
}

#[derive(Debug, Clone)]
pub struct StepResult {
    pub name: String,
    pub state: State,
    /// `None` for what did not run on its own.
    pub took: Option<Duration>,
}

/// The lines that end `cargo verify`: one a step, then the counts.
pub fn table(results: &[StepResult]) -> String {
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for result in results {
        let (word, remark) = match &result.state {
            State::Passed(remark) => ("passed", remark),
            State::Failed(remark) => ("FAILED", remark),
            State::Skipped(reason) => ("skipped", reason),
        };
        let time = result.took.map_or(String::new(), |took| format!("{:.1} s", took.as_secs_f64()));
        let line = format!(" {:<width$}  {word:<7}  {time:>8}  {remark}", result.name);
        // invariant: writing to a String does not fail.
        writeln!(text, "{}", line.trim_end()).unwrap_or_default();
    }
    let count = |wanted: fn(&State) -> bool| results.iter().filter(|result| wanted(&result.state)).count();
    let passed = count(|state| matches!(state, State::Passed(_)));
    let failed = count(|state| matches!(state, State::Failed(_)));
    let skipped = count(|state| matches!(state, State::Skipped(_)));
    let total: Duration = results.iter().filter_map(|result| result.took).sum();
    let total = total.as_secs_f64();
    text + &format!("\n {passed} passed, {failed} failed, {skipped} skipped, {total:.1} s\n")
}

/// What the end of a child says of a step.
pub fn judge(ended: &Ended) -> State {
    match ended.code {
        _ if ended.success => State::Passed(String::new()),
        Some(code) => State::Failed(format!("exit code {code}")),
        None => State::Failed("ended by a signal".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, state: State, seconds: Option<u64>) -> StepResult {
        StepResult { name: name.into(), state, took: seconds.map(Duration::from_secs) }
    }

    #[test]
    fn skipped_is_shown_with_its_reason_and_counted_apart() {
        let shown = table(&[
            result("format", State::Passed(String::new()), Some(1)),
            result("tidy: shell", State::Skipped("no shellcheck here".into()), None),
            result("tests", State::Failed("exit code 100".into()), Some(12)),
        ]);
        let expected = [
            " format       passed      1.0 s",
            " tidy: shell  skipped            no shellcheck here",
            " tests        FAILED     12.0 s  exit code 100",
            "",
            " 1 passed, 1 failed, 1 skipped, 13.0 s",
            "",
        ];
        assert_eq!(shown, expected.join("\n"));
    }
}
