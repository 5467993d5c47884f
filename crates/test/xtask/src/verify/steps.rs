//! The steps of `cargo verify`. Each runs the equivalent of a command line.
//!
//! Cargo always gets `--locked`: a step must not write the lock file.

use std::time::Instant;

use anyhow::Result;

use super::parts::{Kind, Part};
use super::plan::Size;
use super::result::{Skip, State, StepResult, Timed, judge};
use super::run::{NO_TIME, Run, Step};
use super::touched::Area;
use super::{
    advisories, book, conformance, image, licences, packages, privileged, scenarios, soaks, ssh, test_run,
    tuf, vagrant,
};
use crate::command::{cargo, show};
use crate::{api_docs, keelson, manual, mutate, tidy};

/// Template of a short step, which every run includes as a whole.
const ALWAYS: Step = Step { name: "", about: "", parts: |_| Ok(Vec::new()), run: |_| Ok(Vec::new()) };

const BOOT: &str = "boot";
const CLIPPY: &str = "clippy";
const NSPAWN: &str = "scenarios-nspawn";
const QEMU: &str = "scenarios-qemu";
const SHIPPED: &str = "shipped";
const SOAKS: &str = "soaks";
const TUF: &str = "tuf";
const VAGRANT: &str = "vagrant";
const MUTANTS: &str = "mutants";

/// In execution order: the most informative first. A name's part before `-` selects the group.
pub static STEPS: [Step; 20] = [
    Step { name: "format", about: "rustfmt", run: format, ..ALWAYS },
    Step { name: "tidy", about: "the project's own lints", run: tidy_rules, ..ALWAYS },
    Step { name: "licences", about: "deny.toml: licences, bans, sources", run: allowed, ..ALWAYS },
    Step {
        name: "advisories",
        about: "RustSec's advisories for the crates of Cargo.lock, from a dated copy",
        run: |run| Ok(vec![advisories::run(run.workspace)?]),
        ..ALWAYS
    },
    Step { name: "tests", about: "unit, golden and simulation tests", run: tests, ..ALWAYS },
    Step {
        name: BOOT,
        about: "the disk image in QEMU, firmware to login, /usr verified",
        parts: |run| Ok(boot_parts(scenarios::parts(run, "qemu", BOOT)?)),
        run: |run| {
            start_beside(run)?;
            scenarios::run(run, "qemu", BOOT, run.select(BOOT)?)
        },
    },
    Step {
        name: NSPAWN,
        about: "qemu/scenarios on nspawn nodes",
        parts: |run| scenarios::parts(run, "nspawn", NSPAWN),
        run: |run| scenarios::run(run, "nspawn", NSPAWN, run.select(NSPAWN)?),
    },
    Step { name: WANTS, about: "tests that need root or a program of the host", run: privileged, ..ALWAYS },
    Step {
        name: QEMU,
        about: "qemu/scenarios on QEMU machines",
        parts: |run| Ok(without_boot(scenarios::parts(run, "qemu", QEMU)?)),
        run: |run| scenarios::run(run, "qemu", QEMU, run.select(QEMU)?),
    },
    Step { name: CLIPPY, about: "all targets, warnings are errors", run: clippy, ..ALWAYS },
    Step { name: MANUAL, about: "the reference pages of the programs are current", run: manual, ..ALWAYS },
    Step { name: DOCS, about: "rustdoc without warnings, the book", parts: docs_parts, run: docs },
    Step {
        name: "image",
        about: "whole images: the same bytes, faults, damage",
        parts: |_| Ok(image_parts()),
        run: images,
    },
    Step {
        name: SHIPPED,
        about: "scenarios with the programs as releases have them",
        parts: |_| Ok(vec![Part::new(format!("{SHIPPED}/nspawn"), Kind::Long)]),
        run: |run| selected(run, SHIPPED, |_| Ok(vec![scenarios::run_shipped(run, SHIPPED)?])),
    },
    Step {
        name: "conformance",
        about: "etcd's contract, beside Debian's etcd",
        parts: |_| Ok(whole("conformance", &["etcd", "etcdctl", "conformance"])),
        run: etcd,
    },
    Step {
        name: "ssh",
        about: "fleetctl over a real SSH server",
        parts: |_| Ok(whole("ssh", &["fleetctl"])),
        run: ssh,
    },
    Step {
        name: TUF,
        about: "tuf, release-folder, channel-server and python-tuf, each with what the other made",
        parts: |_| Ok(whole(TUF, &["tuf", "release-folder"])),
        run: |run| selected(run, TUF, |_| one(TUF, tuf::run(run.workspace)?)),
    },
    Step {
        name: VAGRANT,
        about: "three machines of a real Vagrant on libvirt, with boxes of a channel server",
        parts: |_| Ok(vec![Part::new(packages::VAGRANT, Kind::Long)]),
        run: |run| selected(run, VAGRANT, |_| one(VAGRANT, vagrant::run(run)?)),
    },
    Step {
        name: SOAKS,
        about: "tests named soak, randomized tests again and again",
        parts: |run| soaks::parts(run, SOAKS),
        run: |run| run.each_part(SOAKS, |name| soaks::run(run, name)),
    },
    // Last: it mutates sources that another step would recompile.
    Step {
        name: MUTANTS,
        about: "the tests that must fail against each kept mutant",
        parts: mutant_parts,
        run: mutants,
    },
];

/// What is in an image, and what builds it.
const IMAGES: Area = Area { packages: BUILDER, paths: &["os/", "image/"], except: &[] };
const BUILDER: &[&str] = &["image", "sandbox"];
const DOCS: &str = "docs";
const MANUAL: &str = "manual";
const WANTS: &str = "wants";
/// Steps that run beside the tests, [`BOOT`] and the scenarios, and end after them.
const BESIDE: [&str; 3] = [CLIPPY, MANUAL, DOCS];

fn whole(step: &str, packages: &'static [&'static str]) -> Vec<Part> {
    vec![Part::new(format!("{step}/all"), Kind::Touched(Area { packages, paths: &[], except: &[] }))]
}

fn image_parts() -> Vec<Part> {
    vec![
        Part::new(format!("image/{}", image::USUAL), Kind::Touched(IMAGES)),
        Part::new(
            format!("image/{}", image::FAULTS),
            Kind::Touched(Area { packages: BUILDER, paths: &[], except: &[] }),
        ),
        Part::new(format!("image/{}", image::FORMATS), Kind::Long),
        Part::new(format!("image/{}", image::TWO_CHECKOUTS), Kind::Long),
    ]
}

fn mutant_parts(run: &Run<'_>) -> Result<Vec<Part>> {
    let areas = mutate::areas(&run.workspace.root)?;
    Ok(areas.into_iter().map(|area| Part::new(format!("{MUTANTS}/{area}"), Kind::Long)).collect())
}

fn mutants(run: &Run<'_>) -> Result<Vec<StepResult>> {
    run.each_part(MUTANTS, |area| mutate::run_area(&run.workspace.root, area))
}

/// The one QEMU scenario that every run includes.
fn boot_parts(parts: Vec<Part>) -> Vec<Part> {
    parts.into_iter().filter(|part| part.kind == Kind::Always).collect()
}

fn without_boot(parts: Vec<Part>) -> Vec<Part> {
    parts.into_iter().filter(|part| part.kind != Kind::Always).collect()
}

fn format(run: &Run<'_>) -> Result<Vec<StepResult>> {
    one("format", judge(&show(&mut cargo(&run.workspace.root, &["fmt", "--all", "--check"]))?))
}

/// The tests, beside which [`BESIDE`] compile at idle priority.
fn tests(run: &Run<'_>) -> Result<Vec<StepResult>> {
    let (compiled, tests) = test_run::compile(run.workspace)?;
    let Some(tests) = tests else { return Ok(vec![compiled]) };
    if tests.runs_no_cargo() {
        start_beside(run)?;
    }
    Ok(vec![compiled, tests.run(run.workspace, run.leaves_out_unchanged)?])
}

/// Starts [`BESIDE`], once. What other steps need of cargo is done before, planning too: they hold its lock.
fn start_beside(run: &Run<'_>) -> Result<()> {
    if run.beside.borrow().was_started() {
        return Ok(());
    }
    let mut steps = Vec::new();
    for step in run.chosen.iter().filter(|step| BESIDE.contains(&step.name)) {
        if (step.parts)(run)?.is_empty() || !run.select(step.name)?.names.is_empty() {
            steps.push(step.name);
        }
    }
    if !steps.is_empty() {
        let root = &run.workspace.root;
        keelson::build_once(root)?;
        if run.chosen.iter().any(|step| step.name == WANTS) {
            run.test_programs()?;
        }
        run.beside.borrow_mut().start(root, &steps)?;
    }
    Ok(())
}

/// The results of a step that ran beside others, or of `work` if it did not.
fn beside(
    run: &Run<'_>,
    name: &str,
    work: impl FnOnce() -> Result<Vec<StepResult>>,
) -> Result<Vec<StepResult>> {
    let results = run.beside.borrow_mut().take(name)?;
    if results.is_empty() { work() } else { Ok(results) }
}

fn clippy(run: &Run<'_>) -> Result<Vec<StepResult>> {
    beside(run, CLIPPY, || {
        let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        one(CLIPPY, judge(&show(&mut cargo(&run.workspace.root, &arguments))?))
    })
}

fn manual(run: &Run<'_>) -> Result<Vec<StepResult>> {
    beside(run, MANUAL, || one(MANUAL, shown_above(manual::is_current(&run.workspace.root)?)))
}

/// In each CI run: rustdoc compiles the workspace once more.
fn docs_parts(run: &Run<'_>) -> Result<Vec<Part>> {
    let kind = if run.size == Size::Ci { Kind::Always } else { Kind::Long };
    Ok(vec![Part::new(format!("{DOCS}/all"), kind)])
}

fn docs(run: &Run<'_>) -> Result<Vec<StepResult>> {
    beside(run, DOCS, || {
        selected(run, DOCS, |_| {
            let rustdoc = shown_above(api_docs::build(run.workspace)?);
            let book = shown_above(book::check(&run.workspace.root)?);
            let lines = [("rustdoc", rustdoc), ("book", book)];
            Ok(lines.map(|(name, state)| StepResult::new(format!("{DOCS}: {name}"), state)).into())
        })
    })
}

fn shown_above(holds: bool) -> State {
    if holds { State::Passed(String::new()) } else { State::Failed("shown above".into()) }
}

fn allowed(run: &Run<'_>) -> Result<Vec<StepResult>> {
    one("licences", licences::run(run.workspace)?)
}

fn privileged(run: &Run<'_>) -> Result<Vec<StepResult>> {
    privileged::run(run)
}

fn ssh(run: &Run<'_>) -> Result<Vec<StepResult>> {
    selected(run, "ssh", |_| one("ssh", ssh::run(run.workspace)?))
}

fn etcd(run: &Run<'_>) -> Result<Vec<StepResult>> {
    selected(run, "conformance", |_| conformance::run(run.workspace))
}

fn images(run: &Run<'_>) -> Result<Vec<StepResult>> {
    selected(run, "image", |names| Ok(vec![image::run(run.workspace, names)?]))
}

/// Runs a step if any of its parts is selected; its last result reports the omitted ones.
fn selected(
    run: &Run<'_>,
    name: &str,
    work: impl Fn(&[String]) -> Result<Vec<StepResult>>,
) -> Result<Vec<StepResult>> {
    let selected = run.select(name)?;
    let out_of_time = run.size == Size::Ci && run.seconds_left() == Some(0);
    let mut results = Vec::new();
    let began = Instant::now();
    if out_of_time && !selected.names.is_empty() {
        let mut result = StepResult::new(name, State::Skipped("no time left".to_owned()));
        for part in selected.names {
            let part = format!("{name}/{part}");
            result.skipped.push(Skip { part, reason: NO_TIME.to_owned() });
        }
        results.push(result);
    } else if !selected.names.is_empty() {
        results = work(&selected.names)?;
        if let ([part], Some(last)) = (&*selected.names, results.last_mut()) {
            let part = format!("{name}/{part}");
            last.timed.push(Timed { part, seconds: began.elapsed().as_secs_f64() });
        }
    } else if !selected.skipped.is_empty() {
        results.push(StepResult::new(name, State::Skipped("no time left".to_owned())));
    }
    if let Some(last) = results.last_mut() {
        last.skipped.extend(selected.skipped);
    }
    Ok(results)
}

fn tidy_rules(run: &Run<'_>) -> Result<Vec<StepResult>> {
    let mut results = Vec::new();
    for rule in &tidy::RULES {
        let name = format!("tidy: {}", rule.name);
        let state = match (rule.check)(run.workspace)? {
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
        results.push(StepResult::new(name, state));
    }
    Ok(results)
}

fn one(name: &str, state: State) -> Result<Vec<StepResult>> {
    Ok(vec![StepResult::new(name, state)])
}
