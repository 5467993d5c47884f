//! The steps of `cargo verify`. Each runs what the same words on a command line would run.
//!
//! Cargo is always told `--locked`: a step must not write the lock file.

use anyhow::Result;

use super::result::{State, StepResult, judge};
use super::{conformance, examples, image, licences, random, scenarios, ssh, wants};
use crate::command::{cargo, has_cargo_plugin, show};
use crate::tidy;
use crate::workspace::Workspace;

/// nextest's exit code for a filter that matches no test.
const NO_TESTS: i32 = 4;

/// How long tests draw by chance in the long run.
const CHANCE: &str = "15m";

/// What a step is given, besides the checkout.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    pub long: bool,
}

pub struct Step {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Workspace, Wishes) -> Result<Vec<StepResult>>,
}

/// From fast to real; a name's part before `-` selects the group.
pub const STEPS: [Step; 13] = [
    Step { name: "format", about: "rustfmt's own opinion", run: format },
    Step { name: "tidy", about: "the rules of the house", run: tidy_rules },
    Step { name: "clippy", about: "all targets, warnings are errors", run: clippy },
    Step { name: "tests", about: "unit, golden and documentation tests", run: tests },
    Step { name: "docs", about: "rustdoc, warnings are errors", run: docs },
    Step { name: "licences", about: "deny.toml: licences, bans, sources", run: allowed },
    Step { name: "wants", about: "tests that want root or a program: each tells what it misses", run: needy },
    Step { name: "ssh", about: "fleetctl over a real SSH server", run: shells },
    Step { name: "conformance", about: "etcd's contract, beside Debian's etcd", run: store },
    Step { name: "image", about: "whole images: the same bytes, faults, damage", run: images },
    Step { name: "scenarios-nspawn", about: "qemu/scenarios on nspawn nodes", run: nspawn },
    Step { name: "scenarios-qemu", about: "qemu/scenarios on QEMU machines", run: qemu },
    Step {
        name: "soaks",
        about: "ignored tests named soak, and chance again and again (--long)",
        run: soaks,
    },
];

fn format(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    one("format", judge(&show(&mut cargo(&workspace.root, &["fmt", "--all", "--check"]))?))
}

fn clippy(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    let words = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    one("clippy", judge(&show(&mut cargo(&workspace.root, &words))?))
}

fn tests(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    let root = &workspace.root;
    // Examples of a package are programs for benchmarks, which clippy has checked.
    let words = ["--locked", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"];
    let runner: &[&str] = if has_cargo_plugin(root, "nextest") { &["nextest", "run"] } else { &["test"] };
    let units = show(&mut cargo(root, &[runner, &words].concat()))?;
    // Neither runs the examples in documentation, and cargo compiles much of the workspace with other features for
    // them: for nothing where there is none.
    if !units.success || !examples::are_in(workspace)? {
        return one("tests", judge(&units));
    }
    one("tests", judge(&show(&mut cargo(root, &["test", "--locked", "--workspace", "--doc"]))?))
}

fn docs(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    let mut command = cargo(&workspace.root, &["doc", "--locked", "--workspace", "--no-deps"]);
    one("docs", judge(&show(command.env("RUSTDOCFLAGS", "-D warnings"))?))
}

fn allowed(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    one("licences", licences::run(workspace)?)
}

fn needy(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    wants::run(workspace)
}

fn shells(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    one("ssh", ssh::run(workspace)?)
}

fn tidy_rules(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    let mut results = Vec::new();
    for rule in &tidy::RULES {
        let name = format!("tidy: {}", rule.name);
        let state = match (rule.check)(workspace)? {
            tidy::Outcome::Skipped(reason) => State::Skipped(reason),
            tidy::Outcome::Checked { findings, note } if findings.is_empty() => {
                State::Passed(note.unwrap_or_default())
            }
            tidy::Outcome::Checked { findings, .. } => {
                for finding in &findings {
                    eprintln!("{finding} [{}]", rule.name);
                }
                State::Failed(format!("{} found, shown above", findings.len()))
            }
        };
        results.push(StepResult { name, state, took: None });
    }
    Ok(results)
}

fn store(workspace: &Workspace, _: Wishes) -> Result<Vec<StepResult>> {
    conformance::run(workspace)
}

fn images(workspace: &Workspace, wishes: Wishes) -> Result<Vec<StepResult>> {
    one("image", image::run(workspace, wishes.long)?)
}

fn nspawn(workspace: &Workspace, wishes: Wishes) -> Result<Vec<StepResult>> {
    one("scenarios-nspawn", scenarios::run(workspace, "nspawn", wishes.long)?)
}

fn qemu(workspace: &Workspace, wishes: Wishes) -> Result<Vec<StepResult>> {
    one("scenarios-qemu", scenarios::run(workspace, "qemu", wishes.long)?)
}

fn soaks(workspace: &Workspace, wishes: Wishes) -> Result<Vec<StepResult>> {
    let root = &workspace.root;
    if !wishes.long {
        return one("soaks", State::Skipped("only with --long".into()));
    }
    if !has_cargo_plugin(root, "nextest") {
        return one(
            "soaks",
            State::Skipped("no cargo-nextest here (cargo install --locked cargo-nextest)".into()),
        );
    }
    let run = |words: &[&str]| -> Result<State> {
        let ended =
            show(&mut cargo(root, &[&["nextest", "run", "--locked", "--workspace"], words].concat()))?;
        Ok(match ended.code {
            Some(NO_TESTS) => State::Skipped("there is no such test".into()),
            _ => judge(&ended),
        })
    };
    let mut results = one("soaks", run(&["--run-ignored", "only", "-E", "test(soak)"])?)?;
    if let Some(filter) = random::filter(workspace)? {
        results.extend(one("soaks: chance", run(&["--stress-duration", CHANCE, "-E", &filter])?)?);
    }
    Ok(results)
}

fn one(name: &str, state: State) -> Result<Vec<StepResult>> {
    Ok(vec![StepResult { name: name.into(), state, took: None }])
}
