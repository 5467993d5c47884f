//! `cargo verify`: every check that a change has to pass, in one table at the end.
//!
//! It runs all chosen steps even after one failed, and must never write to a tracked file.

mod conformance;
mod examples;
mod image;
mod licences;
mod random;
mod result;
mod scenarios;
mod ssh;
mod steps;
mod wants;

use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::interrupt;
use crate::workspace::{self, Workspace};
use result::{State, StepResult};
use steps::{STEPS, Step, Wishes};

const EXAMPLES: &str = "Examples:
  cargo verify                     everything that this host can run
  cargo verify tidy format         two steps
  cargo verify --skip scenarios    all but the machines
  cargo verify --long              with the soaks";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Steps to run, by name or group (`scenarios`); all without any
    #[arg(value_name = "STEP")]
    only: Vec<String>,
    /// A step or group to leave out
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Adds what takes long: soaks, a whole second checkout
    #[arg(long)]
    long: bool,
    /// Lists the steps
    #[arg(long)]
    list: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("no step is called {wanted}: there are {known}")]
pub struct UnknownStep {
    wanted: String,
    known: String,
}

/// True when nothing failed.
pub fn run(flags: &Flags) -> Result<bool> {
    if flags.list {
        for step in &STEPS {
            println!("{:<18}{}", step.name, step.about);
        }
        return Ok(true);
    }
    let chosen = choose(&flags.only, &flags.skip)?;
    interrupt::watch()?;
    let workspace = Workspace::load(&workspace::root())?;
    let mut results = Vec::new();
    let mut to_repeat = Vec::new();
    for step in &STEPS {
        if !chosen.contains(&step.name) {
            continue;
        }
        let of_step = run_step(step, &workspace, Wishes { long: flags.long });
        if of_step.iter().any(|result| matches!(result.state, State::Failed(_))) {
            to_repeat.push(step.name);
        }
        results.extend(of_step);
    }
    println!("\n{}", result::table(&results));
    if to_repeat.is_empty() {
        return Ok(true);
    }
    let word = if interrupt::seen() {
        "interrupted; go on with"
    } else {
        "next: mend it (`cargo fix-all` may), then"
    };
    println!(" {word}  cargo verify {}", to_repeat.join(" "));
    Ok(false)
}

/// A step that breaks off counts as failed, and the others still run.
fn run_step(step: &Step, workspace: &Workspace, wishes: Wishes) -> Vec<StepResult> {
    let failed =
        |cause: String| StepResult { name: step.name.into(), state: State::Failed(cause), took: None };
    if interrupt::seen() {
        return vec![failed("not run: interrupted".into())];
    }
    eprintln!("\n== {}: {}", step.name, step.about);
    let started = Instant::now();
    let mut results =
        (step.run)(workspace, wishes).unwrap_or_else(|error| vec![failed(format!("{error:#}"))]);
    if interrupt::seen() {
        results = vec![failed("interrupted".into())];
    }
    // Rules of one step share its time: the first line shows it.
    if let Some(first) = results.first_mut() {
        first.took = Some(started.elapsed());
    }
    results
}

/// The names of the steps that were asked for.
fn choose(only: &[String], skip: &[String]) -> Result<Vec<&'static str>, UnknownStep> {
    let known = |wanted: &str| STEPS.iter().any(|step| selects(wanted, step.name));
    if let Some(unknown) = only.iter().chain(skip).find(|wanted| !known(wanted)) {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        return Err(UnknownStep { wanted: unknown.clone(), known: names.join(", ") });
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| selects(wanted, name));
    let left_out = |name: &str| skip.iter().any(|wanted| selects(wanted, name));
    Ok(STEPS.iter().map(|step| step.name).filter(|name| wanted(name) && !left_out(name)).collect())
}

/// Whether `wanted` is the step's name, or its group.
fn selects(wanted: &str, name: &str) -> bool {
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(only: &[&str], skip: &[&str], expected: &[&str]) {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(choose(&owned(only), &owned(skip)).unwrap(), expected);
    }

    #[test]
    fn steps_are_chosen_by_name_and_group() {
        check(&["tidy", "format"], &[], &["format", "tidy"]);
        check(&["scenarios"], &[], &["scenarios-nspawn", "scenarios-qemu"]);
        check(&["scenarios"], &["scenarios-qemu"], &["scenarios-nspawn"]);
        check(
            &[],
            &["scenarios"],
            &[
                "format",
                "tidy",
                "clippy",
                "tests",
                "docs",
                "licences",
                "wants",
                "ssh",
                "conformance",
                "image",
                "soaks",
            ],
        );
    }

    #[test]
    fn an_unknown_step_is_refused() {
        let error = choose(&["scen".into()], &[]).unwrap_err().to_string();
        assert!(error.starts_with("no step is called scen: there are format, tidy,"), "{error}");
    }
}
