//! Compiles and runs the tests of the workspace: by cargo-nextest where it is installed, else by `cargo test`.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::examples;
use super::nextest::{self, CompiledTests};
use super::passed::{self, Passed};
use super::result::{State, StepResult, judge};
use crate::command::{cargo, has_cargo_plugin, show};
use crate::workspace::Workspace;

/// Common arguments of nextest and `cargo test`. Examples are benchmark programs, which clippy checks.
const TARGETS: [&str; 5] = ["--locked", "--workspace", "--lib", "--bins", "--tests"];

/// Compiled tests.
#[derive(Debug)]
pub enum Tests {
    Nextest(CompiledTests),
    CargoTest,
}

/// Compiles the tests; none if that fails. It has a result of its own: its time depends on what was compiled before, the
/// tests' time does not.
pub fn compile(workspace: &Workspace) -> Result<(StepResult, Option<Tests>)> {
    let root = &workspace.root;
    let began = Instant::now();
    let (ended, tests) = if has_cargo_plugin(root, "nextest") {
        let (ended, tests) = nextest::compile(workspace, &TARGETS)?;
        (ended, tests.map(Tests::Nextest))
    } else {
        let ended = show(&mut cargo(root, &[&["test", "--no-run"], &TARGETS[..]].concat()))?;
        let tests = ended.success.then_some(Tests::CargoTest);
        (ended, tests)
    };
    let mut result = StepResult::new("tests: compile", judge(&ended));
    result.took = Some(began.elapsed());
    Ok((result, tests))
}

impl Tests {
    /// Whether other steps may run cargo meanwhile.
    pub fn runs_no_cargo(&self) -> bool {
        matches!(self, Self::Nextest(_))
    }

    /// Runs the tests; `leaves_out_unchanged` needs nextest.
    pub fn run(&self, workspace: &Workspace, leaves_out_unchanged: bool) -> Result<StepResult> {
        let began = Instant::now();
        let mut result = match self {
            Self::Nextest(tests) => tests.run(workspace, leaves_out_unchanged)?,
            Self::CargoTest => {
                // Which of the tests fail is not known.
                passed::write(&workspace.root, &Passed::new())?;
                let ended = show(&mut cargo_test(workspace, &[&TARGETS[..], &["--no-fail-fast"]].concat()))?;
                let state =
                    with_remark(judge(&ended), "no cargo-nextest here: skips and times are not known");
                StepResult::new("tests", state)
            }
        };
        // Neither runs documentation examples. Cargo recompiles much of the workspace with other features for them,
        // so this is skipped without any.
        if !result.failed() && examples::are_in(workspace)? {
            let ended = show(&mut cargo_test(workspace, &["--locked", "--workspace", "--doc"]))?;
            if !ended.success {
                result.state = judge(&ended);
            }
        }
        result.took = Some(began.elapsed());
        Ok(result)
    }
}

fn cargo_test(workspace: &Workspace, arguments: &[&str]) -> Command {
    cargo(&workspace.root, &[&["test"], arguments].concat())
}

fn with_remark(state: State, remark: &str) -> State {
    match state {
        State::Passed(_) => State::Passed(remark.to_owned()),
        other => other,
    }
}
