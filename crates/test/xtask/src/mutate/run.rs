//! Compiles a test binary in the copy, runs the named tests, and parses their results.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::mutant::{Mutant, TestCommand};
use super::report::Outcome;
use crate::command::cargo;
use crate::interrupt;

/// Factor of the limit for a mutated test over its unmutated duration.
const LIMIT_FACTOR: u32 = 10;
/// Minimal limit.
const MIN_LIMIT: Duration = Duration::from_secs(120);
/// Limit without a mutation.
const BASELINE: Duration = Duration::from_secs(1200);
/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// Interval of polling a child.
const POLL: Duration = Duration::from_millis(20);

/// Selects tests by full name, including ignored ones.
const EXACTLY: [&str; 3] = ["--", "--include-ignored", "--exact"];

pub struct Runner {
    pub checkout: PathBuf,
    /// Cargo's target folder for finished programs.
    pub build: PathBuf,
    /// Cargo's build folder for intermediate files: the checkout's, which has the dependencies compiled.
    pub shared_build: PathBuf,
    pub logs: PathBuf,
}

pub enum Compiled {
    Yes,
    No { log: PathBuf },
}

/// The summary that a test binary prints.
#[derive(Debug, Default, PartialEq, Eq)]
struct Results {
    passed: usize,
    failed: Vec<String>,
}

impl Runner {
    pub fn compile(&self, command: &TestCommand, log: &str) -> Result<Compiled> {
        let log = self.logs.join(format!("{log}.compile.log"));
        let mut cargo = self.cargo(command);
        cargo.arg("--no-run");
        let ended = finish(&mut cargo, &log, None)?;
        Ok(if ended.is_some_and(|status| status.success()) { Compiled::Yes } else { Compiled::No { log } })
    }

    /// Duration of `tests` without a mutation, or why they are no baseline.
    pub fn baseline(
        &self,
        command: &TestCommand,
        tests: &[&str],
        log: &str,
    ) -> Result<Result<Duration, String>> {
        let log = self.logs.join(format!("{log}.log"));
        let started = Instant::now();
        let ended = finish(self.cargo(command).args(EXACTLY).args(tests), &log, Some(BASELINE))?;
        let took = started.elapsed();
        let path = log.display();
        let Some(results) = results(&read(&log)?).filter(|_| ended.is_some()) else {
            return Ok(Err(format!("the unmutated tests printed no result: {path}")));
        };
        if !results.failed.is_empty() {
            return Ok(Err(format!("unmutated tests fail ({}): {path}", results.failed.join(", "))));
        }
        if results.passed != tests.len() {
            return Ok(Err(format!("{} of {} tests exist and ran: {path}", results.passed, tests.len())));
        }
        Ok(Ok(took))
    }

    /// The outcome of a mutation that is applied and compiled.
    pub fn mutated(&self, mutant: &Mutant, unmutated: Duration, log: &str) -> Result<Outcome> {
        let log = self.logs.join(format!("{log}.log"));
        let limit = MIN_LIMIT.max(unmutated * LIMIT_FACTOR);
        let mut cargo = self.cargo(&mutant.command());
        let ended = finish(cargo.args(EXACTLY).args(&mutant.tests), &log, Some(limit))?;
        if ended.is_none() {
            return Ok(Outcome::TimedOut(limit));
        }
        Ok(verdict(mutant, &read(&log)?, &log))
    }

    fn cargo(&self, command: &TestCommand) -> Command {
        let mut cargo = cargo(&self.checkout, &["test", "--locked", "--package", &command.package]);
        cargo.args(command.target.flags());
        cargo.env("CARGO_TARGET_DIR", &self.build).env("CARGO_BUILD_BUILD_DIR", &self.shared_build);
        // Cargo names a member's files by its path in the workspace and its profile. With the profile of the checkout, the
        // copy's would replace the checkout's, which cargo would take for current whatever changes there. Dependencies
        // have no debug information in either.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
        cargo.env("CARGO_TERM_COLOR", "never").envs(&command.env);
        cargo
    }
}

/// A mutant is caught only if all its tests fail with the expected output.
fn verdict(mutant: &Mutant, output: &str, log: &Path) -> Outcome {
    let Some(results) = results(output) else {
        return Outcome::OtherFailure("the test program printed no result".to_owned(), log.to_path_buf());
    };
    let passed: Vec<_> = mutant.tests.iter().filter(|test| !results.failed.contains(test)).cloned().collect();
    if !passed.is_empty() {
        return Outcome::Survived(passed);
    }
    if !output.contains(&mutant.expect) {
        let why = format!("the output does not contain {:?}", mutant.expect);
        return Outcome::OtherFailure(why, log.to_path_buf());
    }
    Outcome::Caught
}

/// `None` if the program did not finish.
fn results(output: &str) -> Option<Results> {
    let lines: Vec<_> = output.lines().collect();
    let end = lines.iter().rposition(|line| line.starts_with("test result: "))?;
    let passed = lines[end].split_whitespace().collect::<Vec<_>>();
    let passed = passed.windows(2).find(|pair| pair[1] == "passed;")?[0].parse().ok()?;
    // The names follow the second `failures:`.
    let names = lines[..end].iter().rposition(|line| *line == "failures:");
    let failed = names.map_or(&[][..], |at| &lines[at + 1..end]);
    let failed = failed.iter().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect();
    Some(Results { passed, failed })
}

fn read(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs `command` with its output in `log`. `None` if it exceeded `limit` and was killed.
fn finish(command: &mut Command, log: &Path, limit: Option<Duration>) -> Result<Option<ExitStatus>> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let copy = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = command.stdout(file).stderr(copy).spawn().context("cannot start cargo")?;
    let running = interrupt::RunningChild::new(child.id());
    let started = Instant::now();
    let mut terminated: Option<Instant> = None;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for cargo")? {
            break status;
        }
        match terminated {
            None if limit.is_some_and(|limit| started.elapsed() > limit) => {
                terminated = Some(Instant::now());
                interrupt::terminate_tree(i32::try_from(child.id()).unwrap_or(0));
            }
            Some(since) if since.elapsed() > GRACE => child.kill().context("cannot kill cargo")?,
            _ => {}
        }
        std::thread::sleep(POLL);
    };
    drop(running);
    if interrupt::received() {
        bail!("interrupted");
    }
    Ok(terminated.is_none().then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "running 2 tests\n\
        test a::one ... FAILED\n\
        test a::two ... ok\n\
        \n\
        failures:\n\
        \n\
        ---- a::one stdout ----\n\
        assertion failed: was written twice\n\
        \n\
        failures:\n    \
            a::one\n\
        \n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s\n";

    fn mutant(tests: &[&str], expect: &str) -> Mutant {
        Mutant {
            name: "a/b".into(),
            promise: String::new(),
            package: "a".into(),
            target: super::super::mutant::Target::Lib,
            tests: tests.iter().map(|test| (*test).to_owned()).collect(),
            expect: expect.into(),
            env: [].into(),
            changes: Vec::new(),
        }
    }

    #[track_caller]
    fn check(tests: &[&str], expect: &str, output: &str, outcome: &str) {
        let got = verdict(&mutant(tests, expect), output, Path::new("log"));
        assert_eq!(got.to_string(), outcome);
    }

    #[test]
    fn only_the_expected_failure_of_every_test_is_a_catch() {
        check(&["a::one"], "written twice", FAILED, "caught");
        check(&["a::one", "a::two"], "written twice", FAILED, "SURVIVED: a::two passed");
        check(
            &["a::one"],
            "not linearizable",
            FAILED,
            "failed otherwise: the output does not contain \"not linearizable\" (log)",
        );
        let ok = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        check(&["a::one"], "written twice", ok, "SURVIVED: a::one passed");
        let killed = "running 1 test\nwas written twice\n";
        check(
            &["a::one"],
            "written twice",
            killed,
            "failed otherwise: the test program printed no result (log)",
        );
    }

    #[test]
    fn passed_tests_are_counted() {
        let got = results(FAILED).unwrap();
        assert_eq!(got, Results { passed: 1, failed: vec!["a::one".to_owned()] });
    }

    #[test]
    fn a_child_that_exceeds_its_limit_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut hangs = Command::new("sh");
        hangs.args(["-c", "echo started; sleep 600 & wait"]);
        assert_eq!(finish(&mut hangs, &log, Some(Duration::from_millis(200))).unwrap(), None);
        assert_eq!(read(&log).unwrap(), "started\n");
        let status = finish(Command::new("sh").args(["-c", "exit 3"]), &log, Some(MIN_LIMIT)).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(3));
    }
}
