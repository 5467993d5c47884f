//! `cargo verify`: runs the checks of a change and prints a table.
//!
//! It runs all chosen steps even if one fails, never writes to a tracked file, and never counts what did not run as
//! passed.

mod advisories;
mod beside;
mod book;
mod concurrently;
mod conformance;
mod dependencies;
mod disk_space;
mod examples;
mod idle;
mod image;
mod inputs;
mod junit;
mod licences;
mod listed;
mod may_not_run;
mod nextest;
mod package_graph;
mod packages;
mod parts;
mod passed;
mod plan;
mod privileged;
mod random;
mod readers;
mod record;
mod report;
mod result;
mod rotation;
mod run;
mod scenarios;
mod soaks;
mod ssh;
mod steps;
mod test_run;
mod touched;
mod tuf;
mod unchanged;
mod vagrant;
mod verified;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::target_folder;
use crate::interrupt;
use crate::workspace::{self, Workspace};
use disk_space::DiskSpace;
use may_not_run::Allowed;
use plan::Size;
pub use record::{Flags as RecordFlags, record};
use report::Report;
use result::{Skip, State, StepResult};
pub use run::UnknownPart;
use run::{Run, Step};
use steps::STEPS;

const EXAMPLES: &str = "Examples:
  cargo verify                     what every change needs
  cargo verify tidy format         two steps
  cargo verify tests               every test, also of unchanged packages
  cargo verify --skip scenarios    without booted nodes
  cargo verify scenarios-qemu      the usual scenarios on QEMU machines
  cargo verify scenarios-qemu/kv   one of them
  cargo verify --ci                what .ci/run runs
  cargo verify --ci --plan         which parts that is, and what they take
  cargo verify --all               everything: hours

Exit codes: 0 verified, 1 failed, 2 wrong use, 3 nothing failed, but something was not verified";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Steps to run, by name or group (`scenarios`), with their usual parts, or the long ones where there are no others;
    /// or single parts
    #[arg(value_name = "STEP[/PART]")]
    only: Vec<String>,
    /// A step or group to leave out
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Also what the change touches since the commit in .ci/verified, and a tenth of the rest; strict
    #[arg(long, conflicts_with = "all")]
    ci: bool,
    /// Every part of every step
    #[arg(long, alias = "long")]
    all: bool,
    /// Fails where a part does not run, unless .ci/may-not-run.toml lists it with its reason
    #[arg(long)]
    strict: bool,
    /// Installs no packages that the host lacks for these steps: what needs them is not verified
    #[arg(long)]
    no_install: bool,
    /// Where to store the report [default: target/verify/report.json]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Lists the steps
    #[arg(long)]
    list: bool,
    /// Shows what would run, with the recorded times, and runs nothing
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("no step is called {requested}: there are {known}")]
pub struct UnknownStep {
    requested: String,
    known: String,
}

/// Result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Verified,
    Failed,
    /// Nothing failed, but something did not run.
    Incomplete,
}

pub fn run(flags: &Flags) -> Result<Verdict> {
    if flags.list {
        for step in &STEPS {
            println!("{:<18}{}", step.name, step.about);
        }
        return Ok(Verdict::Verified);
    }
    let chosen = choose(&flags.only, &flags.skip)?;
    interrupt::watch()?;
    let workspace = Workspace::load(&workspace::root())?;
    let allowed = Allowed::read(&workspace.root)?;
    let mut run = Run::new(&workspace, size(flags), chosen, &flags.only)?;
    run.installs = !flags.no_install;
    run.leaves_out_unchanged = is_plain(flags);
    run.check_named_parts()?;
    if flags.plan {
        print!("{}", run.plan_text()?);
        return Ok(Verdict::Verified);
    }
    if run.size == Size::All {
        announce_all(&run);
    }
    if run.installs {
        let steps: Vec<_> = run.chosen.iter().map(|step| step.name).collect();
        packages::install_missing(&steps)?;
    }
    let disk_space = DiskSpace::watch(&workspace.root);
    let mut results = Vec::new();
    for step in &run.chosen {
        disk_space.set_step(step.name);
        results.extend(run_step(step, &run));
        run.finished(step.name, &results);
    }
    let commit = touched::head(&workspace.root)?;
    let report =
        Report { least_space: disk_space.least(), ..Report::new(&results, &run.costs, name(&run), commit) };
    let default = target_folder(&workspace.root).join(report::FILE);
    write(&report, flags.report.as_deref().unwrap_or(&default))?;
    let unlisted = unlisted(&results, &allowed);
    let verdict = verdict(&results, &unlisted, flags.strict || flags.ci);
    println!("\n{}", report.text());
    println!("{}", next(&run, &results, &unlisted, verdict));
    if let Some(verified) = run.verified_after(&results)? {
        println!(" once this has landed, {}:\n{}", verified::FILE, verified.text());
    }
    println!(" {}{}", report.coverage(), scope(&run));
    Ok(verdict)
}

/// Whether it is `cargo verify` without a step or a larger size.
fn is_plain(flags: &Flags) -> bool {
    flags.only.is_empty() && !flags.strict && size(flags) == Size::Change
}

fn size(flags: &Flags) -> Size {
    match (flags.ci, flags.all) {
        (true, _) => Size::Ci,
        (_, true) => Size::All,
        _ => Size::Change,
    }
}

/// The name in [`Report::size`].
fn name(run: &Run<'_>) -> &'static str {
    match run.size {
        _ if run.chosen.iter().any(|step| run.parts_named(step.name)) => report::PARTS,
        Size::Change => "change",
        Size::Ci => "ci",
        Size::All => "all",
    }
}

/// Prints the expected time of a full run.
fn announce_all(run: &Run<'_>) {
    let hours = run.costs.values().sum::<f64>() / 3600.0;
    eprintln!("everything takes about {hours:.1} h by {}", run::COSTS);
}

/// What this size leaves out by design.
fn scope(run: &Run<'_>) -> String {
    match run.size {
        _ if run.is_named() => "; the named steps only".to_owned(),
        Size::Change => "; QEMU scenarios, image tests, soaks: with --ci or --all".to_owned(),
        Size::Ci => format!("; slice {} of {}", run.number % rotation::SLICES + 1, rotation::SLICES),
        Size::All => String::new(),
    }
}

fn next(run: &Run<'_>, results: &[StepResult], unlisted: &[Skip], verdict: Verdict) -> String {
    let failed = failed_parts(&run.chosen, results);
    match verdict {
        Verdict::Failed if interrupt::received() => {
            format!(" interrupted; go on with  cargo verify {}", failed.join(" "))
        }
        Verdict::Failed if failed.is_empty() => {
            let parts: String =
                unlisted.iter().map(|skip| format!("\n   {}: {}", skip.part, skip.reason)).collect();
            format!(
                " strict: did not run, and {} does not list it with this reason:{parts}",
                may_not_run::FILE
            )
        }
        Verdict::Failed => {
            format!(" next: fix it (`cargo fix-all` may), then  cargo verify {}", failed.join(" "))
        }
        _ => String::new(),
    }
}

/// The failed steps, or the failed parts of a step.
fn failed_parts(chosen: &[&Step], results: &[StepResult]) -> Vec<String> {
    let of = |step: &&Step| -> Vec<String> {
        let failed = || results.iter().filter(|result| result.failed() && result.is_of(step.name));
        if failed().any(|result| result.broken.is_empty()) {
            return vec![step.name.to_owned()];
        }
        failed().flat_map(|result| result.broken.clone()).collect()
    };
    chosen.iter().flat_map(of).collect()
}

/// What did not run and is not allowed to.
fn unlisted(results: &[StepResult], allowed: &Allowed) -> Vec<Skip> {
    results.iter().flat_map(StepResult::not_run).filter(|skip| !allowed.allows(skip)).collect()
}

fn verdict(results: &[StepResult], unlisted: &[Skip], strict: bool) -> Verdict {
    match (results.iter().any(StepResult::failed), unlisted) {
        (true, _) => Verdict::Failed,
        (false, []) => Verdict::Verified,
        (false, _) if strict => Verdict::Failed,
        (false, _) => Verdict::Incomplete,
    }
}

fn write(report: &Report<'_>, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A step that returns an error counts as failed; the others still run.
fn run_step(step: &Step, run: &Run<'_>) -> Vec<StepResult> {
    let failed = |cause: String| StepResult::new(step.name, State::Failed(cause));
    if interrupt::received() {
        return vec![failed("not run: interrupted".into())];
    }
    eprintln!("\n== {}: {}", step.name, step.about);
    let started = Instant::now();
    let mut results = (step.run)(run).unwrap_or_else(|error| vec![failed(format!("{error:#}"))]);
    if interrupt::received() {
        results = vec![failed("interrupted".into())];
    }
    // Results without a time share the step's: the first line shows it.
    let timed = results.iter().any(|result| result.took.is_some());
    if let Some(first) = results.first_mut().filter(|_| !timed) {
        first.took = Some(started.elapsed());
    }
    results
}

/// The selected steps.
fn choose(only: &[String], skip: &[String]) -> Result<Vec<&'static Step>, UnknownStep> {
    let known = |requested: &str| STEPS.iter().any(|step| selects(requested, step.name));
    let step_of = |requested: &'_ String| {
        requested.split_once('/').map_or(requested.clone(), |(step, _)| step.to_owned())
    };
    let only: Vec<String> = only.iter().map(step_of).collect();
    if let Some(unknown) = only.iter().chain(skip).find(|requested| !known(requested)) {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        return Err(UnknownStep { requested: unknown.clone(), known: names.join(", ") });
    }
    let requested = |name: &str| only.is_empty() || only.iter().any(|requested| selects(requested, name));
    let is_skipped = |name: &str| skip.iter().any(|requested| selects(requested, name));
    Ok(STEPS.iter().filter(|step| requested(step.name) && !is_skipped(step.name)).collect())
}

/// Whether `requested` is the step's name or group.
fn selects(requested: &str, name: &str) -> bool {
    name == requested || name.strip_prefix(requested).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(only: &[&str], skip: &[&str], expected: &[&str]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let chosen = choose(&owned(only), &owned(skip)).unwrap();
        assert!(chosen.iter().map(|step| step.name).eq(expected.iter().copied()), "{expected:?}");
    }

    #[test]
    fn steps_are_chosen_by_name_and_group() {
        check(&["tidy", "format"], &[], &["format", "tidy"]);
        check(&["scenarios"], &[], &["scenarios-nspawn", "scenarios-qemu"]);
        check(&["scenarios"], &["scenarios-qemu"], &["scenarios-nspawn"]);
        let all: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        check(&[], &[], &all);
        check(&["scenarios-qemu/kv", "docs"], &[], &["scenarios-qemu", "docs"]);
    }

    #[test]
    fn only_a_plain_run_leaves_out_what_is_unchanged() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            flags: Flags,
        }
        let check = |arguments: &[&str], expect: bool| {
            let line = <Line as clap::Parser>::parse_from([&["verify"], arguments].concat());
            assert_eq!(is_plain(&line.flags), expect, "{arguments:?}");
        };
        check(&[], true);
        check(&["--skip", "scenarios", "--no-install"], true);
        for argument in ["tests", "scenarios-qemu/kv", "--strict", "--ci", "--all"] {
            check(&[argument], false);
        }
    }

    #[test]
    fn an_unknown_step_is_refused() {
        let error = choose(&["scen".into()], &[]).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("no step is called scen: there are format, tidy,"), "{error}");
    }

    #[test]
    fn what_failed_is_named_to_be_run_again() {
        let failed = |name: &str, broken: &[&str]| StepResult {
            broken: broken.iter().map(|part| (*part).to_owned()).collect(),
            ..StepResult::new(name, State::Failed(String::new()))
        };
        let chosen = choose(&["scenarios-qemu".into(), "conformance".into(), "docs".into()], &[]).unwrap();
        let results = [
            failed("scenarios-qemu", &["scenarios-qemu/kv", "scenarios-qemu/update"]),
            failed("conformance: three", &[]),
            StepResult::new("docs", State::Passed(String::new())),
        ];
        let expected = ["scenarios-qemu/kv", "scenarios-qemu/update", "conformance"];
        assert_eq!(failed_parts(&chosen, &results), expected);
    }

    #[test]
    fn what_did_not_run_is_no_success() {
        let passed = || StepResult::new("tests", State::Passed(String::new()));
        let skipped = || StepResult::new("ssh", State::Skipped("no sshd".into()));
        let failed = || StepResult::new("docs", State::Failed("exit code 1".into()));
        let nothing = Allowed::read(std::path::Path::new("/nonexistent")).unwrap();
        for (results, strict, expect) in [
            (vec![passed()], true, Verdict::Verified),
            (vec![passed(), skipped()], false, Verdict::Incomplete),
            (vec![passed(), skipped()], true, Verdict::Failed),
            (vec![failed(), skipped()], false, Verdict::Failed),
        ] {
            let unlisted = unlisted(&results, &nothing);
            assert_eq!(verdict(&results, &unlisted, strict), expect, "{results:?}");
            let workspace = Workspace::load(&workspace::root()).unwrap();
            let run = Run::new(&workspace, Size::Ci, choose(&[], &[]).unwrap(), &[]).unwrap();
            let named = next(&run, &results, &unlisted, verdict(&results, &unlisted, strict))
                .contains("ssh: no sshd");
            assert_eq!(named, strict && !unlisted.is_empty(), "{results:?}");
        }
    }
}
