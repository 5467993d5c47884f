//! Conformance of etcd: the same cases against the store alone, one member, three members and Debian's etcd; then
//! third-party clients, and `etcdctl` against Debian's.
//!
//! What cannot run is skipped with its reason, never passed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Error, Result};

use super::concurrently;
use super::result::{State, StepResult};
use crate::cargo_build;
use crate::command::{Ended, ignored_tests, show, show_and_read};
use crate::reference::Reference;
use crate::workspace::Workspace;

/// The runner's exit code for a server that is unavailable on this host.
const UNAVAILABLE: i32 = 77;
/// Number of concurrent tests of `etcdctl`: more would starve each other's servers.
const CONCURRENCY: &str = "2";

/// Number of concurrent checks, which mostly wait.
const WORKERS: usize = 2;
/// Third-party clients.
const CLIENTS: [&str; 2] = ["python", "rust"];

struct Programs {
    runner: PathBuf,
    etcd: PathBuf,
    /// The HTTP API on the store alone.
    local: PathBuf,
    /// Cache of downloads, below cargo's target folder.
    folder: PathBuf,
    /// Held while a client is installed and runs: they share a folder.
    clients: Mutex<()>,
}

/// A line of the table.
struct Check<'a> {
    name: String,
    run: Box<dyn Fn() -> Result<State> + Send + Sync + 'a>,
}

pub fn run(workspace: &Workspace) -> Result<Vec<StepResult>> {
    let root = &workspace.root;
    let programs = build(root)?;
    let reference = Reference::find_or_fetch(&programs.folder.join("debian"));
    let checks = checks(root, &programs, reference.as_ref());
    let states = concurrently::map(WORKERS, &checks, |check| (check.run)())?;
    let name = |check: &Check<'_>| format!("conformance: {}", check.name);
    Ok(checks.iter().zip(states).map(|(check, state)| StepResult::new(name(check), state)).collect())
}

fn checks<'a>(
    root: &'a Path,
    programs: &'a Programs,
    reference: Result<&'a Reference, &'a Error>,
) -> Vec<Check<'a>> {
    let mut checks = Vec::new();
    let mut add = |name: &str, run: Box<dyn Fn() -> Result<State> + Send + Sync + 'a>| {
        checks.push(Check { name: name.to_owned(), run });
    };
    add("model", Box::new(|| runner(programs, "model", &programs.local, None)));
    for kind in ["one", "three"] {
        add(kind, Box::new(move || runner(programs, kind, &programs.etcd, None)));
    }
    for name in CLIENTS {
        let run = move || runner(programs, "three", &programs.etcd, Some(name));
        add(&format!("{name} on three"), Box::new(run));
    }
    match reference {
        Ok(reference) => {
            add("reference", Box::new(|| runner(programs, "reference", &reference.etcd, None)));
            for name in CLIENTS {
                let run = move || runner(programs, "reference", &reference.etcd, Some(name));
                add(&format!("{name} on reference"), Box::new(run));
            }
            add("etcdctl", Box::new(|| etcdctl(root, reference)));
            add("checkers", Box::new(|| checkers(root, reference)));
        }
        Err(why) => {
            for name in ["reference", "python on reference", "rust on reference", "etcdctl", "checkers"] {
                add(name, Box::new(move || Ok(State::Skipped(format!("{why:#}")))));
            }
        }
    }
    checks
}

fn build(root: &Path) -> Result<Programs> {
    let built = cargo_build::build_with_features_of_tests(root, &["--bin", "etcd", "--bin", "conformance"])?;
    let etcd = cargo_build::named(&built, "etcd")?.to_path_buf();
    let folder = etcd.ancestors().nth(2).unwrap_or(root).join("conformance");
    Ok(Programs {
        runner: cargo_build::named(&built, "conformance")?.to_path_buf(),
        local: cargo_build::named(&built, "local")?.to_path_buf(),
        etcd,
        folder,
        clients: Mutex::default(),
    })
}

fn runner(programs: &Programs, kind: &str, server: &Path, client: Option<&str>) -> Result<State> {
    let mut command = Command::new(&programs.runner);
    command.args(["--on", kind, "--program"]).arg(server);
    if let Some(client) = client {
        command.args(["--client", client, "--folder"]).arg(&programs.folder);
    }
    let _clients = client.map(|_| programs.clients.lock().unwrap_or_else(PoisonError::into_inner));
    let ended = show_and_read(&mut command)?;
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
    let mut command = ignored_tests(root, &["--test", "suite"]);
    command.args(["reference::", "histories::"]);
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
