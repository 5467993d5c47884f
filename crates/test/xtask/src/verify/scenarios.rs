//! Runs the scenarios of `qemu/` on one back end, through `cargo keelson test`.
//!
//! Its JSON output decides: a scenario that cannot run on this host is skipped, not passed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::parts::{Part, Scenario, of_scenarios};
use super::plan::{self, Costs};
use super::result::{Skip, State, StepResult, Timed};
use super::run::{NO_TIME, Run, Selected};
use crate::command::{require_success, show_and_read, target_folder};
use crate::debian_packages;
use crate::keelson;
use crate::reference::Reference;
use crate::root_access::RootAccess;

/// Profiles of the node's programs: compiled with the tests, and as released.
const QUICK: &str = "quick";
const SHIPPED_PROFILE: &str = "node";
/// One scenario for each program of the node.
const SHIPPED: [&str; 6] =
    ["boots", "etcd-tutorial", "from-file", "provision", "fleet", "locksmith-one-at-a-time"];

/// Output of `keelson test --json`: the counts are its contract, the list gives reasons.
#[derive(Debug, Deserialize)]
struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
    #[serde(default)]
    scenarios: Vec<Ran>,
}

#[derive(Debug, Deserialize)]
struct Ran {
    scenario: String,
    #[serde(default)]
    seconds: f64,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    result: String,
    why: Option<String>,
}

/// Number of concurrent scenarios. On nspawn nodes they mostly wait. Emulated machines saturate the processors: two at a
/// time, seven scenarios took 620 s instead of the recorded 740 s, and some took twice as long as alone.
fn jobs(back_end: &str) -> &'static str {
    if back_end == "nspawn" { "6" } else { "1" }
}

/// The scenarios of a back end (`nspawn` or `qemu`) as parts of `step`.
pub fn parts(run: &Run<'_>, back_end: &str, step: &str) -> Result<Vec<Part>> {
    Ok(of_scenarios(&list(&run.workspace.root)?, back_end, step))
}

fn list(root: &Path) -> Result<Vec<Scenario>> {
    let mut command = keelson::command(root)?;
    let listed = require_success(show_and_read(command.args(["--json", "test", "--list"]))?)?;
    serde_json::from_str(&listed.stdout).context("keelson test --list --json printed something else")
}

/// Runs the selected scenarios; no result if none is selected.
pub fn run(run: &Run<'_>, back_end: &str, step: &str, selected: Selected) -> Result<Vec<StepResult>> {
    let Selected { mut names, skipped } = selected;
    if back_end == "nspawn" {
        longest_first(&mut names, step, &run.costs);
    }
    if names.is_empty() && skipped.is_empty() {
        return Ok(Vec::new());
    }
    let mut result = if names.is_empty() {
        StepResult::new(step, State::Skipped("no time left".to_owned()))
    } else {
        run_named(run, back_end, step, &names, QUICK)?
    };
    result.skipped.extend(skipped);
    Ok(vec![result])
}

/// Of concurrent scenarios, a long one that started last would run alone.
fn longest_first(names: &mut [String], step: &str, costs: &Costs) {
    names.sort_by(|one, other| {
        let [one, other] = [one, other].map(|name| plan::cost(costs, &format!("{step}/{name}")));
        other.total_cmp(&one)
    });
}

/// Runs some scenarios on nspawn nodes with the released programs.
pub fn run_shipped(run: &Run<'_>, step: &str) -> Result<StepResult> {
    run_named(run, "nspawn", step, &SHIPPED.map(str::to_owned), SHIPPED_PROFILE)
}

fn run_named(
    run: &Run<'_>,
    back_end: &str,
    step: &str,
    names: &[String],
    profile: &str,
) -> Result<StepResult> {
    let root = &run.workspace.root;
    let programs = programs_of_debian(root, names);
    let mut command = if back_end == "nspawn" && RootAccess::of_this_process() == RootAccess::Sudo {
        by_sudo(root, profile, &programs)?
    } else {
        let mut command = keelson::command(root)?;
        command.args(["--json", "test", "--profile", profile]).envs(programs);
        command
    };
    command.args(["--on", back_end, "--jobs", jobs(back_end)]);
    if let Some(seconds) = run.seconds_left() {
        command.args(["--start-within", &seconds.to_string()]);
    }
    let ended = show_and_read(command.args(names))?;
    let mut result = judge(step, ended.success, ended.code, &ended.stdout)?;
    for skip in result.skipped.iter_mut().filter(|skip| skip.reason.contains("--start-within")) {
        NO_TIME.clone_into(&mut skip.reason);
    }
    Ok(result)
}

/// Variables that name Debian's programs to the scenarios that need them. Without one, its scenario reports that.
fn programs_of_debian(root: &Path, names: &[String]) -> Vec<(&'static str, PathBuf)> {
    let etcd = Reference::of_target(root).map(|reference| (Reference::VARIABLE, reference.etcd));
    let haproxy = names
        .iter()
        .any(|name| name == "haproxy")
        .then(|| debian_packages::haproxy(root).map(|folder| (debian_packages::HAPROXY, folder)));
    let found = [Some(etcd), haproxy].into_iter().flatten();
    found.filter_map(|found| found.inspect_err(|error| eprintln!("warning: {error:#}")).ok()).collect()
}

/// `keelson test` as root. This process builds the image, since root would leave files in the checkout that its
/// owner cannot write; root unpacks it with its owners in a separate folder.
fn by_sudo(root: &Path, profile: &str, programs: &[(&str, PathBuf)]) -> Result<Command> {
    let out = target_folder(root).join("verify/image");
    let mut build = keelson::command(root)?;
    build.args(["--json", "image", "build", "--profile", profile, "--format", "raw", "--out"]).arg(&out);
    let built = require_success(show_and_read(&mut build)?).context("keelson image build")?;
    let built: Built =
        serde_json::from_str(&built.stdout).context("keelson image build --json printed something else")?;
    let image = built.files.first().context("keelson image build wrote no file")?;
    let state = PathBuf::from(format!("/var/tmp/keelson-verify-{}", nix::unistd::geteuid()));
    let programs = programs.iter().map(|(name, path)| (*name, path.as_path()));
    let variables: Vec<(&str, &Path)> = programs.chain([("KEELSON_STATE_DIR", &*state)]).collect();
    let mut command = RootAccess::Sudo.command(&keelson::build_once(root)?, &variables);
    command.current_dir(root).args(["--json", "test", "--image"]).arg(&image.path);
    Ok(command)
}

/// Output of `keelson image build --json`.
#[derive(Debug, Deserialize)]
struct Built {
    files: Vec<BuiltFile>,
}

#[derive(Debug, Deserialize)]
struct BuiltFile {
    path: PathBuf,
}

fn judge(step: &str, success: bool, code: Option<i32>, stdout: &str) -> Result<StepResult> {
    let code = code.map_or("none (a signal)".into(), |code| code.to_string());
    if stdout.trim().is_empty() {
        let state = State::Failed(format!("keelson test printed no result, exit code {code}"));
        return Ok(StepResult::new(step, state));
    }
    let report: Report =
        serde_json::from_str(stdout).context("keelson test --json printed something else")?;
    let counts = format!("{} passed, {} failed, {} skipped", report.passed, report.failed, report.skipped);
    let part = |ran: &Ran| format!("{step}/{}", ran.scenario);
    let why = |ran: &Ran| ran.outcome.why.clone().unwrap_or_else(|| "no reason was given".to_owned());
    let of = |result: &'static str| report.scenarios.iter().filter(move |ran| ran.outcome.result == result);
    let state = match &report {
        Report { failed: 1.., .. } => {
            let reasons: String =
                of("failed").map(|ran| format!("; {}: {}", ran.scenario, why(ran))).collect();
            State::Failed(counts + &reasons)
        }
        _ if !success => State::Failed(format!("{counts}, exit code {code}")),
        Report { passed: 0, skipped: 0, .. } => State::Failed("no scenario ran".into()),
        Report { passed: 0, .. } => State::Skipped(counts),
        Report { .. } => State::Passed(counts),
    };
    let mut result = StepResult::new(step, state);
    result.skipped = of("skipped").map(|ran| Skip { part: part(ran), reason: why(ran) }).collect();
    result.broken = of("failed").map(part).collect();
    result.timed = of("passed").map(|ran| Timed { part: part(ran), seconds: ran.seconds }).collect();
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(success: bool, stdout: &str, expected: State, not_run: usize) {
        let result = judge("scenarios", success, Some(i32::from(!success)), stdout).unwrap();
        assert_eq!((result.state.clone(), result.not_run().len()), (expected, not_run));
    }

    #[test]
    fn long_scenarios_start_first() {
        let costs = [("s/short".to_owned(), 2.0), ("s/long".to_owned(), 60.0)].into();
        let mut names = ["short", "long"].map(str::to_owned);
        longest_first(&mut names, "s", &costs);
        assert_eq!(names, ["long", "short"]);
    }

    #[test]
    fn only_what_ran_and_passed_is_passed() {
        check(
            true,
            r#"{"passed":3,"failed":0,"skipped":0}"#,
            State::Passed("3 passed, 0 failed, 0 skipped".into()),
            0,
        );
        check(
            true,
            r#"{"passed":0,"failed":0,"skipped":1,"scenarios":[{"scenario":"boots","on":"nspawn",
                "seconds":0.1,"outcome":{"result":"skipped","why":"needs root"}}]}"#,
            State::Skipped("0 passed, 0 failed, 1 skipped".into()),
            1,
        );
        check(
            true,
            r#"{"passed":1,"failed":0,"skipped":1,"scenarios":[
                {"scenario":"boots","outcome":{"result":"passed"}},
                {"scenario":"lan","outcome":{"result":"skipped","why":"no time"}}]}"#,
            State::Passed("1 passed, 0 failed, 1 skipped".into()),
            1,
        );
        check(
            false,
            r#"{"passed":1,"failed":1,"skipped":0,"scenarios":[
                {"scenario":"boots","outcome":{"result":"passed"}},
                {"scenario":"lan","outcome":{"result":"failed","why":"no answer","kept":"/x"}}]}"#,
            State::Failed("1 passed, 1 failed, 0 skipped; lan: no answer".into()),
            0,
        );
        check(
            false,
            r#"{"passed":1,"failed":0,"skipped":0}"#,
            State::Failed("1 passed, 0 failed, 0 skipped, exit code 1".into()),
            0,
        );
        let broken = r#"{"passed":0,"failed":1,"skipped":0,"scenarios":[{"scenario":"lan","outcome":{"result":"failed"}}]}"#;
        assert_eq!(judge("scenarios", false, Some(1), broken).unwrap().broken, ["scenarios/lan"]);
        check(true, r#"{"passed":0,"failed":0,"skipped":0}"#, State::Failed("no scenario ran".into()), 0);
        check(false, "", State::Failed("keelson test printed no result, exit code 1".into()), 0);
    }

    #[test]
    fn a_report_of_another_shape_is_an_error() {
        assert!(judge("scenarios", true, Some(0), r#"{"passed":1}"#).is_err());
        assert!(judge("scenarios", true, Some(0), "all fine").is_err());
    }
}
