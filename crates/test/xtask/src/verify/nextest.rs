//! Compiles and runs the tests of the workspace by cargo-nextest. The record of [`passed`] has what may be left out of a
//! later run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::inputs::Inputs;
use super::junit::{self, Ran};
use super::listed;
use super::package_graph::{self, Dependencies};
use super::passed::{self, Passed};
use super::result::{State, StepResult, judge, unchanged_since_passed};
use super::unchanged::Selection;
use crate::command::{Ended, cargo, require_success, show, show_and_read, target_folder};
use crate::interrupt;
use crate::workspace::Workspace;

/// What nextest needs to run compiled tests, below cargo's target folder.
const BINARIES: &str = "verify/test-binaries.json";
const METADATA: &str = "verify/cargo-metadata.json";
const STEP: &str = "tests";

/// Compiled tests, described to nextest by files: it does not run cargo, whose lock other steps may hold.
#[derive(Debug)]
pub struct CompiledTests {
    binaries: PathBuf,
    metadata: PathBuf,
    /// Read before the compilation: a file that is edited during it has another digest afterwards. `None` if they are
    /// not known.
    inputs: Option<Inputs>,
}

/// Compiles these targets; no tests if that fails.
pub fn compile(workspace: &Workspace, targets: &[&str]) -> Result<(Ended, Option<CompiledTests>)> {
    let root = &workspace.root;
    let inputs = Inputs::read(root).inspect_err(announce_unknown).ok();
    let mut list = cargo(root, &[&["nextest", "list"], targets].concat());
    let listed = show_and_read(list.args(["--list-type", "binaries-only", "--message-format", "json"]))?;
    if !listed.success {
        return Ok((listed, None));
    }
    let target = target_folder(root);
    let (binaries, metadata) = (target.join(BINARIES), target.join(METADATA));
    let write = |path: &PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap_or(&target))
            .and_then(|()| fs::write(path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    write(&binaries, &listed.stdout)?;
    let mut command = cargo(root, &["metadata", "--locked", "--format-version", "1"]);
    write(&metadata, &require_success(show_and_read(&mut command)?)?.stdout)?;
    Ok((listed, Some(CompiledTests { binaries, metadata, inputs })))
}

fn announce_unknown(error: &anyhow::Error) {
    eprintln!("all tests run, and none is recorded as passed: {error:#}");
}

impl CompiledTests {
    /// Runs the tests, on request without those of unchanged packages.
    pub fn run(&self, workspace: &Workspace, leaves_out_unchanged: bool) -> Result<StepResult> {
        let root = &workspace.root;
        let (selection, dependencies) = match &self.inputs {
            Some(inputs) => self
                .select(workspace, inputs, leaves_out_unchanged)
                .inspect_err(announce_unknown)
                .unwrap_or_default(),
            None => Default::default(),
        };
        // An interrupted run leaves no record of what it was to run.
        passed::write(root, &selection.left_out)?;
        if selection.unchanged() > 0 {
            eprintln!("not run: {}", unchanged_since_passed(selection.unchanged()));
        }
        let mut result = StepResult::new(STEP, State::Passed(String::new()));
        if !selection.is_all() {
            let ran = self.run_selected(workspace, &selection, &mut result.state)?;
            if !interrupt::received() {
                record(workspace, &selection, &dependencies, &ran)?;
            }
            result.timed = ran.tests;
            result.skipped = ran.skipped;
        }
        result.skipped.extend(selection.skipped());
        result.unchanged = selection.unchanged();
        if result.unchanged > 0 && !result.failed() {
            let (ran, unchanged) = (result.timed.len(), unchanged_since_passed(result.unchanged));
            result.state = State::Passed(format!("{ran} parts; {unchanged}"));
        }
        Ok(result)
    }

    /// Compares the inputs with the record. Without `leaves_out_unchanged` everything is selected.
    fn select(
        &self,
        workspace: &Workspace,
        inputs: &Inputs,
        leaves_out_unchanged: bool,
    ) -> Result<(Selection, Dependencies)> {
        let metadata = fs::read_to_string(&self.metadata)
            .with_context(|| format!("cannot read {}", self.metadata.display()))?;
        let dependencies = package_graph::read(&metadata)?;
        let mut list = self.nextest(&workspace.root, "list");
        let list = require_success(show_and_read(list.args(["--message-format", "json"]))?)
            .context("cannot list the tests")?;
        let listed = listed::read(&list.stdout, STEP)?;
        let recorded = if leaves_out_unchanged { passed::read(&workspace.root) } else { Passed::new() };
        let digests = inputs.digests(workspace, &dependencies);
        Ok((Selection::new(listed, digests, recorded), dependencies))
    }

    fn nextest(&self, root: &Path, verb: &str) -> Command {
        let mut command = cargo(root, &["nextest", verb]);
        command.arg("--binaries-metadata").arg(&self.binaries).arg("--cargo-metadata").arg(&self.metadata);
        command
    }

    fn run_selected(&self, workspace: &Workspace, selection: &Selection, state: &mut State) -> Result<Ran> {
        let report = target_folder(&workspace.root).join(junit::FILE);
        // Otherwise a run that ends without a report would have the results of the one before.
        match fs::remove_file(&report) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", report.display()));
            }
            _ => {}
        }
        let mut command = self.nextest(&workspace.root, "run");
        command.args(["--no-fail-fast", "--test-threads", &test_threads().to_string()]);
        if let Some(filter) = selection.filter() {
            command.args(["-E", &filter]);
        }
        *state = judge(&show(&mut command)?);
        read_report(&report, state)
    }
}

/// Three per processor: tests wait for more than half of their time.
fn test_threads() -> usize {
    3 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads times, failed tests and those that skipped themselves from nextest's report.
fn read_report(path: &Path, state: &mut State) -> Result<Ran> {
    let xml = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && matches!(state, State::Failed(_)) => {
            return Ok(Ran::default());
        }
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let ran = junit::read(&xml, STEP)?;
    if !ran.failed.is_empty() {
        *state = State::Failed(ran.failed.join(", "));
    } else if ran.tests.is_empty() && matches!(state, State::Passed(_)) {
        *state = State::Failed("no test ran".to_owned());
    }
    Ok(ran)
}

/// Records what passed, if its inputs are still the same.
fn record(
    workspace: &Workspace,
    selection: &Selection,
    dependencies: &Dependencies,
    ran: &Ran,
) -> Result<()> {
    match Inputs::read(&workspace.root) {
        Ok(inputs) => {
            let after = inputs.digests(workspace, dependencies);
            passed::write(&workspace.root, &selection.passed(ran, &after))
        }
        Err(error) => {
            eprintln!("no test is recorded as passed: {error:#}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_report(xml: Option<&str>, state: State, expect: &State, tests: usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("junit.xml");
        if let Some(xml) = xml {
            fs::write(&path, xml).unwrap();
        }
        let mut judged = state;
        let ran = read_report(&path, &mut judged).unwrap();
        assert_eq!((&judged, ran.tests.len()), (expect, tests), "{xml:?}");
    }

    #[test]
    fn a_run_without_a_report_is_no_success() {
        let passed = || State::Passed(String::new());
        let failed = || State::Failed("exit code 104".into());
        let none = "<testsuites></testsuites>";
        let case = |child: &str| {
            format!(
                r#"<testsuites><testcase name="a" classname="kv" time="1.0">{child}</testcase></testsuites>"#
            )
        };
        check_report(Some(&case("")), passed(), &passed(), 1);
        check_report(Some(&case("<failure/>")), failed(), &State::Failed("tests/kv::a".into()), 1);
        check_report(Some(none), passed(), &State::Failed("no test ran".into()), 0);
        check_report(None, failed(), &failed(), 0);
        let nowhere = Path::new("/nonexistent/junit.xml");
        assert!(read_report(nowhere, &mut passed()).is_err());
    }
}
