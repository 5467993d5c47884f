//! `cargo xtask mutate`: applies each stored mutation to a copy of the checkout and runs the tests that must fail.
//!
//! Invariants: it never writes to the checkout, and never counts a mutant as caught whose tests failed for another
//! reason.

mod copy;
mod mutant;
mod report;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::target_folder;
use crate::interrupt;
use copy::Copy;
use mutant::{Mutant, TestCommand};
use report::{Outcome, Report};
use run::{Compiled, Runner};

/// Mutant files, below the checkout.
const MUTANTS: &str = "crates/test/xtask/mutants";
/// The copy, its build and the logs, below the checkout.
const WORK: &str = "target/mutate";

const EXAMPLES: &str = "Examples:
  cargo xtask mutate --list             every kept mutant and its promise
  cargo xtask mutate update-core        the mutants of one area
  cargo xtask mutate etcd/slow-election one mutant
  cargo xtask mutate --slice 2/4        the second quarter";

#[derive(Debug, Args)]
#[command(about = "Runs the tests that must fail against each kept mutant", after_help = EXAMPLES)]
pub struct Flags {
    /// Mutants to run, by name or area (`update-core`); all without any
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Lists the mutants
    #[arg(long)]
    list: bool,
    /// Runs the K-th of N parts
    #[arg(long, value_name = "K/N")]
    slice: Option<Slice>,
    /// Writes the results as one JSON document
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
#[error("no mutant or area is named {0} (cargo xtask mutate --list)")]
pub struct UnknownMutant(String);

/// The K-th of N parts: mutants whose index, sorted by name, is K - 1 modulo N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    part: usize,
    of: usize,
}

impl std::str::FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err("a slice is K/N with 1 <= K <= N".to_owned()),
        }
    }
}

/// Returns whether every mutant that ran was caught.
pub fn run(root: &Path, flags: &Flags) -> Result<bool> {
    let all = mutant::load(&root.join(MUTANTS))?;
    let chosen = choose(&all, &flags.names, flags.slice)?;
    if flags.list {
        for mutant in &chosen {
            println!("{:<54}{}", mutant.name, mutant.promise);
        }
        return Ok(true);
    }
    interrupt::watch()?;
    run_chosen(root, chosen, flags.json.as_deref())
}

/// The areas: the part of a mutant's name before the slash.
pub fn areas(root: &Path) -> Result<BTreeSet<String>> {
    let area = |mutant: Mutant| mutant.name.split('/').next().unwrap_or_default().to_owned();
    Ok(mutant::load(&root.join(MUTANTS))?.into_iter().map(area).collect())
}

/// Runs the mutants of one area in a process that handles signals already. Returns whether all were caught.
pub fn run_area(root: &Path, area: &str) -> Result<bool> {
    let all = mutant::load(&root.join(MUTANTS))?;
    run_chosen(root, choose(&all, &[area.to_owned()], None)?, None)
}

fn run_chosen(root: &Path, chosen: Vec<&Mutant>, json: Option<&Path>) -> Result<bool> {
    let copy = Copy::open(root, &root.join(WORK))?;
    copy.sync()?;
    let runner = Runner {
        checkout: copy.checkout(),
        build: copy.build(),
        shared_build: target_folder(root),
        logs: copy.logs(),
    };
    let mut reports = Vec::new();
    let baselines = baselines(&runner, &chosen)?;
    for mutant in chosen {
        let started = Instant::now();
        let outcome = match judge(&copy, &runner, mutant, &baselines) {
            Err(_) if interrupt::received() => break,
            outcome => outcome?,
        };
        let report = Report::new(mutant, outcome, started.elapsed());
        println!("{report}");
        reports.push(report);
    }
    if let Some(file) = json {
        let text = report::json(&reports)?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{}", report::summary(&reports));
    if interrupt::received() {
        bail!("interrupted");
    }
    Ok(reports.iter().all(|report| matches!(report.outcome, Outcome::Caught)))
}

/// Mutants selected by `names` and `slice`, sorted by name.
fn choose<'a>(
    all: &'a [Mutant],
    names: &[String],
    slice: Option<Slice>,
) -> Result<Vec<&'a Mutant>, UnknownMutant> {
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|mutant| mutant.is_named(name))) {
        return Err(UnknownMutant(unknown.clone()));
    }
    let named = |mutant: &Mutant| names.is_empty() || names.iter().any(|name| mutant.is_named(name));
    let chosen = all.iter().filter(|mutant| named(mutant)).enumerate();
    Ok(chosen
        .filter(|(index, _)| slice.is_none_or(|slice| index % slice.of == slice.part - 1))
        .map(|(_, mutant)| mutant)
        .collect())
}

/// Duration of a command's tests without a mutation, or why they are no baseline.
type Baseline = Result<Duration, String>;

/// Runs every command once without a mutation. All run before the first mutant: in between, the unmutated crates
/// would be recompiled.
fn baselines(runner: &Runner, mutants: &[&Mutant]) -> Result<BTreeMap<TestCommand, Baseline>> {
    let mut by_command: BTreeMap<TestCommand, Vec<&str>> = BTreeMap::new();
    for mutant in mutants {
        let tests = by_command.entry(mutant.command()).or_default();
        tests.extend(mutant.tests.iter().map(String::as_str));
        tests.sort_unstable();
        tests.dedup();
    }
    let mut baselines = BTreeMap::new();
    for (command, tests) in by_command {
        eprintln!("baseline: {command}");
        let log = format!("baseline-{}-{}", command.package, command.target.file_name());
        let baseline = match runner.compile(&command, &log)? {
            Compiled::No { log } => Err(format!("does not compile unmutated: {}", log.display())),
            Compiled::Yes => runner.baseline(&command, &tests, &log)?,
        };
        if let Err(why) = &baseline {
            eprintln!("  {why}");
        }
        baselines.insert(command, baseline);
    }
    Ok(baselines)
}

/// Applies one mutation, runs its tests, and restores the copy.
fn judge(
    copy: &Copy,
    runner: &Runner,
    mutant: &Mutant,
    baselines: &BTreeMap<TestCommand, Baseline>,
) -> Result<Outcome> {
    if interrupt::received() {
        bail!("interrupted");
    }
    let command = mutant.command();
    let unmutated = match baselines.get(&command) {
        Some(Ok(took)) => *took,
        Some(Err(why)) => return Ok(Outcome::NoBaseline(why.clone())),
        None => return Ok(Outcome::NoBaseline("it did not run".to_owned())),
    };
    let files = match mutant.mutated(&copy.checkout()) {
        Ok(files) => files,
        Err(stale) => return Ok(Outcome::Stale(stale.to_string())),
    };
    let applied = copy.apply(&files)?;
    let outcome = (|| {
        let log = mutant.name.replace('/', "-");
        match runner.compile(&command, &log)? {
            Compiled::No { log } => Ok(Outcome::DoesNotCompile(log)),
            Compiled::Yes => runner.mutated(mutant, unmutated, &log),
        }
    })();
    applied.restore()?;
    outcome
}

#[cfg(test)]
mod tests;
