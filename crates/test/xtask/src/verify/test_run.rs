//! Compiles and runs the tests of the workspace: by cargo-nextest where it is installed, else by `cargo test`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::result::{State, StepResult, judge};
use super::{examples, junit};
use crate::command::{Ended, cargo, has_cargo_plugin, require_success, show, show_and_read, target_folder};
use crate::workspace::Workspace;

/// Common arguments of nextest and `cargo test`. Examples are benchmark programs, which clippy checks.
const TARGETS: [&str; 5] = ["--locked", "--workspace", "--lib", "--bins", "--tests"];
/// What nextest needs to run compiled tests, below cargo's target folder.
const BINARIES: &str = "verify/test-binaries.json";
const METADATA: &str = "verify/cargo-metadata.json";

/// Compiled tests.
#[derive(Debug)]
pub enum Tests {
    /// Described to nextest by these files: it does not run cargo, whose lock other steps may hold.
    Nextest {
        binaries: PathBuf,
        metadata: PathBuf,
    },
    CargoTest,
}

/// Compiles the tests; none if that fails. It has a result of its own: its time depends on what was compiled before, the
/// tests' time does not.
pub fn compile(workspace: &Workspace) -> Result<(StepResult, Option<Tests>)> {
    let root = &workspace.root;
    let began = Instant::now();
    let (ended, tests) = if has_cargo_plugin(root, "nextest") {
        let mut list = cargo(root, &[&["nextest", "list"], &TARGETS[..]].concat());
        let listed = show_and_read(list.args(["--list-type", "binaries-only", "--message-format", "json"]))?;
        let tests = if listed.success { Some(described(workspace, &listed)?) } else { None };
        (listed, tests)
    } else {
        let ended = show(&mut cargo(root, &[&["test", "--no-run"], &TARGETS[..]].concat()))?;
        let tests = ended.success.then_some(Tests::CargoTest);
        (ended, tests)
    };
    let mut result = StepResult::new("tests: compile", judge(&ended));
    result.took = Some(began.elapsed());
    Ok((result, tests))
}

fn described(workspace: &Workspace, listed: &Ended) -> Result<Tests> {
    let target = target_folder(&workspace.root);
    let (binaries, metadata) = (target.join(BINARIES), target.join(METADATA));
    let write = |path: &PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap_or(&target))
            .and_then(|()| fs::write(path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    write(&binaries, &listed.stdout)?;
    let mut command = cargo(&workspace.root, &["metadata", "--locked", "--format-version", "1"]);
    write(&metadata, &require_success(show_and_read(&mut command)?)?.stdout)?;
    Ok(Tests::Nextest { binaries, metadata })
}

impl Tests {
    /// Whether other steps may run cargo meanwhile.
    pub fn runs_no_cargo(&self) -> bool {
        matches!(self, Self::Nextest { .. })
    }

    pub fn run(&self, workspace: &Workspace) -> Result<StepResult> {
        let began = Instant::now();
        let mut result = match self {
            Self::Nextest { binaries, metadata } => {
                let mut command = cargo(&workspace.root, &["nextest", "run", "--no-fail-fast"]);
                command.arg("--binaries-metadata").arg(binaries).arg("--cargo-metadata").arg(metadata);
                command.args(["--test-threads", &test_threads().to_string()]);
                let mut result = StepResult::new("tests", judge(&show(&mut command)?));
                read_report(workspace, &mut result)?;
                result
            }
            Self::CargoTest => {
                let ended = show(&mut cargo_test(workspace, &[&TARGETS[..], &["--no-fail-fast"]].concat()))?;
                let state =
                    with_remark(judge(&ended), "no cargo-nextest here: skips and times are not known");
                StepResult::new("tests", state)
            }
        };
        // Neither runs documentation examples. Cargo recompiles much of the workspace with other features for them,
        // so this is skipped without any.
        if !result.failed() && examples::are_in(workspace)? {
            result.state = judge(&show(&mut cargo_test(workspace, &["--locked", "--workspace", "--doc"]))?);
        }
        result.took = Some(began.elapsed());
        Ok(result)
    }
}

fn cargo_test(workspace: &Workspace, arguments: &[&str]) -> Command {
    cargo(&workspace.root, &[&["test"], arguments].concat())
}

/// Three per processor: tests wait for more than half of their time.
fn test_threads() -> usize {
    3 * std::thread::available_parallelism().map_or(1, usize::from)
}

fn with_remark(state: State, remark: &str) -> State {
    match state {
        State::Passed(_) => State::Passed(remark.to_owned()),
        other => other,
    }
}

/// Adds times, and the tests that skipped themselves, from nextest's report.
fn read_report(workspace: &Workspace, result: &mut StepResult) -> Result<()> {
    let path = target_folder(&workspace.root).join(junit::FILE);
    let xml = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let ran = junit::read(&xml, &result.name)?;
    if ran.tests.is_empty() && !result.failed() {
        result.state = State::Failed("no test ran".to_owned());
    }
    if !ran.failed.is_empty() {
        result.state = State::Failed(ran.failed.join(", "));
    }
    result.timed = ran.tests;
    result.skipped = ran.skipped;
    Ok(())
}
