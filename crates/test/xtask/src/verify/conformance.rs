//! Conformance of etcd: the same cases against the store alone, one member, three members and Debian's etcd; then
//! third-party clients, and `etcdctl` against Debian's.
//!
//! What cannot run is skipped with its reason, never passed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::result::{State, StepResult};
use crate::cargo_build;
use crate::command::{Ended, ignored_tests, show, show_and_read};
use crate::reference::Reference;
use crate::workspace::Workspace;

/// The runner's exit code for a server that is unavailable on this host.
const UNAVAILABLE: i32 = 77;
/// Number of concurrent tests of `etcdctl`: more would starve each other's servers.
const CONCURRENCY: &str = "2";

struct Programs {
    runner: PathBuf,
    etcd: PathBuf,
    /// The HTTP API on the store alone.
    local: PathBuf,
    /// Cache of downloads, below cargo's target folder.
    folder: PathBuf,
}

pub fn run(workspace: &Workspace) -> Result<Vec<StepResult>> {
    let root = &workspace.root;
    let programs = build(root)?;
    let reference = Reference::find_or_fetch(&programs.folder.join("debian"));
    let mut results = Vec::new();
    let mut add = |name: &str, state: State| {
        results.push(StepResult::new(format!("conformance: {name}"), state));
    };
    add("model", runner(&programs, "model", &programs.local, &[])?);
    for kind in ["one", "three"] {
        add(kind, runner(&programs, kind, &programs.etcd, &[])?);
    }
    let clients = programs.folder.display().to_string();
    let clients = |name| ["--client", name, "--folder", &clients].map(str::to_owned).to_vec();
    for name in ["python", "rust"] {
        add(&format!("{name} on three"), runner(&programs, "three", &programs.etcd, &clients(name))?);
    }
    match &reference {
        Ok(reference) => {
            add("reference", runner(&programs, "reference", &reference.etcd, &[])?);
            for name in ["python", "rust"] {
                let state = runner(&programs, "reference", &reference.etcd, &clients(name))?;
                add(&format!("{name} on reference"), state);
            }
            add("etcdctl", etcdctl(root, reference)?);
            add("checkers", checkers(root, reference)?);
        }
        Err(why) => {
            for name in ["reference", "python on reference", "rust on reference", "etcdctl", "checkers"] {
                add(name, State::Skipped(format!("{why:#}")));
            }
        }
    }
    Ok(results)
}

fn build(root: &Path) -> Result<Programs> {
    // Selects the whole workspace as for all tests: other features would recompile everything.
    let arguments = ["--workspace", "--bin", "etcd", "--bin", "conformance", "--example", "local"];
    let built = cargo_build::build(root, &arguments)?;
    let etcd = cargo_build::named(&built, "etcd")?.to_path_buf();
    let folder = etcd.ancestors().nth(2).unwrap_or(root).join("conformance");
    Ok(Programs {
        runner: cargo_build::named(&built, "conformance")?.to_path_buf(),
        local: cargo_build::named(&built, "local")?.to_path_buf(),
        etcd,
        folder,
    })
}

fn runner(programs: &Programs, kind: &str, server: &Path, more: &[String]) -> Result<State> {
    let mut command = Command::new(&programs.runner);
    let ended = show_and_read(command.args(["--on", kind, "--program"]).arg(server).args(more))?;
    eprint!("{}", ended.stdout);
    Ok(judge(&ended))
}

fn judge(ended: &Ended) -> State {
    let last = ended.stdout.lines().next_back().unwrap_or_default().to_owned();
    match ended.code {
        Some(0) if last.is_empty() => State::Failed("nothing was said to have held".into()),
        Some(0) => State::Passed(last),
        Some(UNAVAILABLE) => State::Skipped(last),
        Some(code) if last.is_empty() => State::Failed(format!("exit code {code}")),
        Some(_) => State::Failed(last),
        None => State::Failed("ended by a signal".into()),
    }
}

/// Our `etcdctl` and Debian's, each against Debian's etcd and ours.
fn etcdctl(root: &Path, reference: &Reference) -> Result<State> {
    let mut command = ignored_tests(root, &["--test", "command_line"]);
    command.args(["reference::", "--test-threads", CONCURRENCY]);
    command.env(Reference::VARIABLE, &reference.etcd);
    let ended = show(command.env("KEELSON_REFERENCE_ETCDCTL", &reference.etcdctl))?;
    Ok(match ended.code {
        Some(0) => State::Passed("beside Debian's, on one and three members of ours".into()),
        Some(code) => State::Failed(format!("exit code {code}")),
        None => State::Failed("ended by a signal".into()),
    })
}

/// Validates the suite's checkers against three members of Debian's etcd: they accept its histories, and reject a
/// forged one.
fn checkers(root: &Path, reference: &Reference) -> Result<State> {
    let mut command = ignored_tests(root, &["--test", "reference", "--test", "histories"]);
    Ok(super::result::judge(&show(command.env(Reference::VARIABLE, &reference.etcd))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Option<i32>, stdout: &str, expected: State) {
        let ended = Ended { success: code == Some(0), code, stdout: stdout.into() };
        assert_eq!(judge(&ended), expected);
    }

    #[test]
    fn only_what_held_is_passed() {
        check(Some(0), "450 held, 0 failed\n", State::Passed("450 held, 0 failed".into()));
        check(Some(0), "", State::Failed("nothing was said to have held".into()));
        check(Some(1), "FAILED a\n    why\n9 held, 1 failed\n", State::Failed("9 held, 1 failed".into()));
        check(Some(1), "", State::Failed("exit code 1".into()));
        check(Some(77), "skipped: no PyPI\n", State::Skipped("skipped: no PyPI".into()));
        check(None, "", State::Failed("ended by a signal".into()));
    }
}
