//! A process for each seed, so that runs do not affect each other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::run::{Sabotage, simulate};
use super::trace::Trace;
use etcd_simulation::seed_this_thread;

const SEED: &str = "KEELSON_ONE_SEED";
const SABOTAGE: &str = "KEELSON_SABOTAGE";
const TRACE: &str = "KEELSON_TRACE";
const SEEDS: &str = "KEELSON_SEEDS";
/// In real time; a seed takes seconds.
const REAL_TIME_LIMIT: Duration = Duration::from_secs(300);

static VIOLATION: Mutex<Option<String>> = Mutex::new(None);

/// Records an event that invalidates the run or is a failure.
pub fn report_violation(what: &str) {
    VIOLATION.lock().get_or_insert_with(|| what.to_owned());
}

pub fn violation() -> Option<String> {
    VIOLATION.lock().clone()
}

pub struct SeedResult {
    pub seed: u64,
    pub passed: bool,
    /// The summary or the failure.
    pub output: String,
}

pub fn seeds_from_environment() -> Option<Range<u64>> {
    let text = std::env::var(SEEDS).ok()?;
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    Some(range.unwrap_or_else(|| panic!("{SEEDS}={text}: expected from..to, as 7..8")))
}

/// Runs one seed in its own process.
pub fn run_seed(seed: u64, sabotage: Sabotage, trace: Option<&Path>) -> SeedResult {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["one_seed", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(SEED, seed.to_string()).env(SABOTAGE, format!("{sabotage:?}"));
    if let Some(trace) = trace {
        command.env(TRACE, trace);
    }
    let output = command.output().unwrap();
    let output_text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    SeedResult { seed, passed: output.status.success(), output: output_text }
}

/// Runs seeds in parallel until the first wanted one.
pub fn run_seeds(
    seeds: Range<u64>,
    sabotage: Sabotage,
    wanted: impl Fn(&SeedResult) -> bool + Sync,
) -> Option<SeedResult> {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(None::<SeedResult>);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while found.lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result = run_seed(seed, sabotage, None);
                    let summary = result.output.lines().find(|line| line.starts_with("seed "));
                    println!("{}", summary.unwrap_or("failed"));
                    if wanted(&result) {
                        found.lock().get_or_insert(result);
                    }
                }
            });
        }
    });
    found.into_inner()
}

/// The process of one seed.
pub fn child() {
    let Ok(seed) = std::env::var(SEED) else {
        println!("{SEED} names no seed: nothing to do");
        return;
    };
    let seed = seed.parse().unwrap();
    let sabotages = [Sabotage::None, Sabotage::LyingDisks, Sabotage::NoBarrier, Sabotage::LostEvent];
    let wanted = std::env::var(SABOTAGE).unwrap_or_default();
    let sabotage = sabotages.into_iter().find(|one| format!("{one:?}") == wanted).unwrap();
    if std::env::var_os("SHOW_LOG").is_some() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).without_time().init();
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report_violation(&format!("a task panicked: {panic}"));
        usual(panic);
    }));
    let trace = Arc::new(Trace::to(std::env::var_os(TRACE).map(PathBuf::from).as_deref()));
    watch(&trace);
    // A new thread, so that thread-local state of libraries begins with the seed.
    let simulating = std::thread::spawn({
        let trace = Arc::clone(&trace);
        move || {
            seed_this_thread(seed);
            simulate(seed, sabotage, &trace)
        }
    });
    let result = simulating.join().unwrap_or_else(|_| Err("the simulation panicked".into()));
    trace.finish();
    match result.and_then(|summary| violation().map_or(Ok(summary), Err)) {
        Ok(summary) => println!("\n{summary}"),
        Err(failure) => {
            println!("\nseed {seed} failed\n{}{failure}", trace.last());
            std::process::exit(1);
        }
    }
}

/// Exits if virtual time does not advance.
fn watch(trace: &Arc<Trace>) {
    let trace = Arc::clone(trace);
    std::thread::spawn(move || {
        std::thread::sleep(REAL_TIME_LIMIT);
        println!("\nstuck at {} ms\n{}", trace.moments.millis(), trace.last());
        std::process::exit(3);
    });
}
