//! Our crates and python-tuf: the ignored tests `peer`, with an environment of pinned wheels from PyPI. Without
//! python3 or PyPI they are reported as skipped: a test that returned early would count as passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};

use super::result::State;
use crate::command::{announce, ignored_tests, show_and_read, target_folder};
use crate::workspace::Workspace;

/// Names the interpreter to the tests.
const VARIABLE: &str = "KEELSON_TUF_PYTHON";
const REQUIREMENTS: &str = "crates/update/tuf/tests/python/requirements.txt";
/// pip's message for a wheel with other bytes.
const OTHER_HASHES: &str = "DO NOT MATCH THE HASHES";
/// Holds the requirements of a complete environment.
const READY: &str = "ready";

pub fn run(workspace: &Workspace) -> Result<State> {
    let python = match environment(&workspace.root)? {
        Ok(python) => python,
        Err(state) => return Ok(state),
    };
    let mut command = ignored_tests(&workspace.root, &["--test", "suite"]);
    let ended = show_and_read(command.arg("peer::").env(VARIABLE, python))?;
    eprint!("{}", ended.stdout);
    Ok(judge(ended.success, &ended.stdout))
}

/// The interpreter of an environment with exactly the required wheels, or why there is none.
fn environment(root: &Path) -> Result<Result<PathBuf, State>> {
    let folder = target_folder(root).join("tuf/python");
    let python = folder.join("bin/python");
    let requirements = root.join(REQUIREMENTS);
    let text =
        std::fs::read_to_string(&requirements).with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    if std::fs::read_to_string(folder.join(READY)).is_ok_and(|ready| ready == text) {
        return Ok(Ok(python));
    }
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(&folder);
    let mut install = Command::new(&python);
    let arguments =
        ["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"];
    install.args(arguments).arg("--requirement").arg(&requirements);
    for command in [&mut create, &mut install] {
        announce(command);
        let ended = command.output();
        if let Some(state) = obstacle(&command.get_program().to_string_lossy(), ended) {
            return Ok(Err(state));
        }
    }
    std::fs::write(folder.join(READY), text).context("cannot mark the environment as complete")?;
    Ok(Ok(python))
}

/// Why there is no environment: other bytes are a failure, anything else is an absence.
fn obstacle(program: &str, ended: std::io::Result<Output>) -> Option<State> {
    let output = match ended {
        Ok(output) if output.status.success() => return None,
        Ok(output) => output,
        Err(error) => return Some(State::Skipped(format!("cannot start {program}: {error}"))),
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if text.contains(OTHER_HASHES) {
        eprint!("{text}");
        return Some(State::Failed(format!("a wheel is not that of {REQUIREMENTS}")));
    }
    let why = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output");
    Some(State::Skipped(format!("no python-tuf: {}", why.trim())))
}

/// A filter without any match passes: only tests that ran count.
fn judge(success: bool, stdout: &str) -> State {
    let passed =
        stdout.lines().filter(|line| line.starts_with("test peer::") && line.ends_with("... ok")).count();
    match (success, passed) {
        (false, _) => State::Failed("shown above".into()),
        (true, 0) => State::Failed("no test ran".into()),
        (true, passed) => State::Passed(format!("{passed} tests with python-tuf")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn ended(code: i32, stderr: &str) -> std::io::Result<Output> {
        Ok(Output { status: ExitStatus::from_raw(code << 8), stdout: Vec::new(), stderr: stderr.into() })
    }

    #[test]
    fn an_absent_program_or_registry_is_skipped_and_other_bytes_fail() {
        assert_eq!(obstacle("python3", ended(0, "")), None);
        let absent = obstacle("python3", Err(std::io::Error::from(std::io::ErrorKind::NotFound)));
        assert!(matches!(absent, Some(State::Skipped(why)) if why.contains("python3")));
        let offline = obstacle("python", ended(1, "WARNING: x\nERROR: no matching distribution\n\n"));
        assert_eq!(offline, Some(State::Skipped("no python-tuf: ERROR: no matching distribution".into())));
        let forged = obstacle("python", ended(1, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM\nx"));
        assert!(matches!(forged, Some(State::Failed(_))));
    }

    #[test]
    fn only_tests_that_ran_are_passed() {
        let stdout = "test peer::a ... ok\ntest peer::b ... ok\ntest result: ok. 2 passed\n";
        assert_eq!(judge(true, stdout), State::Passed("2 tests with python-tuf".into()));
        assert_eq!(judge(true, "test result: ok. 0 passed\n"), State::Failed("no test ran".into()));
        assert_eq!(judge(false, stdout), State::Failed("shown above".into()));
    }
}
