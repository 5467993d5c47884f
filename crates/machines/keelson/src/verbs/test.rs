//! `keelson test`: runs scenarios, each on its own machines.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use image::programs::Profile;
use machines::cluster::BackendKind;
use progress::Progress;
use scenarios::{Outcome, Run, Scenario};
use serde_json::{Value, json};

use crate::boot_image::{self, ImageRequest};
use crate::context::{Context, interrupt};
use crate::failure::UsageError;
use crate::{global, output};

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Scenarios to run [default: all except long ones]
    #[arg(value_name = "SCENARIO")]
    names: Vec<String>,
    /// Run on this back end only [default: all back ends of each scenario]
    #[arg(long, value_name = "BACKEND", value_parser = global::backend)]
    on: Option<BackendKind>,
    /// Also run long scenarios
    #[arg(long)]
    long: bool,
    /// Number of scenarios that run concurrently; on QEMU a scenario with several machines runs alone
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    jobs: NonZeroUsize,
    /// Start no scenario after this time; the remaining ones are skipped
    #[arg(long, value_name = "SECONDS")]
    start_within: Option<u64>,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
    /// Image to test: a disk that `image build` wrote, or its folder
    #[arg(long, value_name = "FILE", env = "KEELSON_IMAGE")]
    image: Option<PathBuf>,
    /// Build profile of the programs if this checkout is built: quick, or node, as in releases
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::Quick)]
    profile: Profile,
}

impl Flags {
    fn runs(&self, scenario: &Scenario, backend: BackendKind) -> bool {
        let long = scenario.long_on.contains(&backend);
        let chosen =
            !self.names.is_empty() || (self.long || !long) && !scenario.by_name_on.contains(&backend);
        chosen && self.on.is_none_or(|on| on == backend)
    }
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let chosen = choose(flags)?;
    if flags.list {
        list(context, &chosen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runs =
        |scenario: &Scenario| scenario.on.iter().any(|backend| flags.on.is_none_or(|on| on == *backend));
    if !chosen.iter().any(|scenario| runs(scenario)) {
        return Err(UsageError("none of these scenarios supports this back end".to_owned()).into());
    }
    let cancel = interrupt()?;
    let request = ImageRequest {
        named: flags.image.as_deref(),
        channel: None,
        profile: flags.profile,
        on: flags.on,
        keep_in: None,
    };
    let boot_image = boot_image::find(context, request, &cancel)?;
    let run = Run {
        image: boot_image.image.clone(),
        profile: flags.profile,
        state: context.state_dir.clone(),
        background: context.background.clone(),
        cancel,
    };
    let results = run_all(&run, &chosen, flags, context.progress);
    if run.cancel.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let count =
        |matches: fn(&Outcome) -> bool| results.iter().filter(|result| matches(&result.outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    if context.json {
        let scenarios: Vec<_> = results.iter().map(ScenarioResult::to_json).collect();
        output::print_json(
            &json!({ "passed": passed, "failed": failed, "skipped": skipped, "scenarios": scenarios }),
        )?;
    } else {
        output::print(format!("{passed} passed, {failed} failed, {skipped} skipped\n"))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct ScenarioResult {
    scenario: &'static str,
    on: BackendKind,
    seconds: f64,
    outcome: Outcome,
}

impl ScenarioResult {
    fn to_json(&self) -> Value {
        json!({ "scenario": self.scenario, "on": self.on, "seconds": self.seconds, "outcome": self.outcome })
    }
}

/// Results in order of completion, without scenarios that an interrupt prevented.
fn run_all(
    run: &Run,
    chosen: &[&'static Scenario],
    flags: &Flags,
    progress: Progress,
) -> Vec<ScenarioResult> {
    let on = |scenario: &&'static Scenario| scenario.on.iter().map(|on| (*scenario, *on)).collect::<Vec<_>>();
    let mut all: Vec<_> = chosen.iter().flat_map(on).collect();
    all.retain(|(scenario, on)| flags.runs(scenario, *on));
    // Scenarios that need all slots run last, so that others seldom wait for one.
    all.sort_by_key(|(scenario, on)| slots(scenario, *on, flags.jobs) > 1);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let free = Slots::new(flags.jobs.get());
    let last_start = flags.start_within.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let worker = || {
        while let Some((scenario, on)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let _guard = free.acquire(slots(scenario, *on, flags.jobs));
            if run.cancel.load(Ordering::Relaxed) {
                return;
            }
            let result = if last_start.is_some_and(|last| Instant::now() > last) {
                let why = "not started: the time limit of --start-within is exceeded".to_owned();
                ScenarioResult {
                    scenario: scenario.name,
                    on: *on,
                    seconds: 0.0,
                    outcome: Outcome::Skipped { why },
                }
            } else {
                run_one(run, scenario, *on, progress)
            };
            // invariant: a worker that panicked pushed a complete result or none.
            results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..flags.jobs.get() {
            scope.spawn(worker);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Slots that a scenario takes. Emulated machines need a processor each, so several of them take all slots.
fn slots(scenario: &Scenario, on: BackendKind, jobs: NonZeroUsize) -> usize {
    if on == BackendKind::Qemu && scenario.nodes + scenario.others > 1 { jobs.get() } else { 1 }
}

/// A counting semaphore.
struct Slots {
    free: Mutex<usize>,
    released: Condvar,
}

/// Releases its slots on drop.
struct SlotGuard<'a> {
    slots: &'a Slots,
    count: usize,
}

impl Slots {
    fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), released: Condvar::new() }
    }

    /// Waits until `count` slots are free.
    fn acquire(&self, count: usize) -> SlotGuard<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.released.wait_while(free, |free| *free < count);
        *free.unwrap_or_else(PoisonError::into_inner) -= count;
        SlotGuard { slots: self, count }
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        *self.slots.free.lock().unwrap_or_else(PoisonError::into_inner) += self.count;
        self.slots.released.notify_all();
    }
}

fn run_one(run: &Run, scenario: &Scenario, on: BackendKind, progress: Progress) -> ScenarioResult {
    let step = progress.step("test");
    let name = format!("{} on {on}", scenario.name);
    step.set(name.clone());
    let started = Instant::now();
    let outcome = scenarios::run(run, scenario, on);
    let summary = match &outcome {
        Outcome::Passed => format!("{name} passed"),
        Outcome::Failed { why, kept } => format!("{name} FAILED: {why}\n   kept: {}", kept.display()),
        Outcome::Skipped { why } => format!("{name} skipped: {why}"),
    };
    step.done(&summary);
    ScenarioResult { scenario: scenario.name, on, seconds: started.elapsed().as_secs_f64(), outcome }
}

fn choose(flags: &Flags) -> anyhow::Result<Vec<&'static Scenario>> {
    if flags.names.is_empty() {
        return Ok(scenarios::ALL.iter().collect());
    }
    let find = |name: &String| {
        let known = || scenarios::ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        let found = scenarios::ALL.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| {
            UsageError(format!("unknown scenario {name}; the scenarios are {}", known())).into()
        })
    };
    flags.names.iter().map(find).collect()
}

fn list(context: &Context, chosen: &[&Scenario]) -> anyhow::Result<()> {
    if context.json {
        let all: Vec<_> = chosen
            .iter()
            .map(|scenario| {
                json!({
                    "name": scenario.name,
                    "on": scenario.on,
                    "long_on": scenario.long_on,
                    "by_name_on": scenario.by_name_on,
                    "about": scenario.about,
                })
            })
            .collect();
        return output::print_json(&json!(all));
    }
    let rows: Vec<_> = chosen
        .iter()
        .map(|scenario| {
            let names =
                |on: &[BackendKind]| on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let note = match (scenario.by_name_on, scenario.long_on) {
                ([], []) => String::new(),
                ([], on) => format!("long on {}", names(on)),
                (on, _) => format!("by name on {}", names(on)),
            };
            vec![scenario.name.to_owned(), names(scenario.on), note, scenario.about.to_owned()]
        })
        .collect();
    output::print(output::table(&["SCENARIO", "ON", "", "SHOWS THAT"], &rows) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_emulated_machines_take_all_slots() {
        let jobs = NonZeroUsize::new(3).unwrap();
        let of = |nodes| Scenario { nodes, ..scenarios::ALL[0] };
        assert_eq!(slots(&of(1), BackendKind::Qemu, jobs), 1);
        assert_eq!(slots(&of(2), BackendKind::Qemu, jobs), 3);
        assert_eq!(slots(&of(5), BackendKind::Nspawn, jobs), 1);
    }

    #[test]
    fn a_scenario_waits_until_its_slots_are_free() {
        let (free, running, maximum) = (Slots::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for count in [1, 2, 1, 2, 1, 1] {
                let (free, running, maximum) = (&free, &running, &maximum);
                scope.spawn(move || {
                    let _guard = free.acquire(count);
                    let current = running.fetch_add(count, Ordering::SeqCst) + count;
                    maximum.fetch_max(current, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    running.fetch_sub(count, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((maximum.into_inner(), *free.free.lock().unwrap()), (2, 2));
    }
}
