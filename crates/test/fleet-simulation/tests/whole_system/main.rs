//! The whole system in one thread, from a seed: fleetds with the real client; etcd members with their HTTP front end,
//! on simulated disks and clocks; and a network that cuts, delays and resets connections. No unit may ever run twice,
//! and all desired units must run in the end. Time is tokio's virtual time.
//!
//! `KEELSON_SEEDS=7..99` runs other seeds. To run one with a log: `KEELSON_SEED=17 SHOW_LOG=info cargo nextest run -p
//! fleet-simulation --run-ignored only --no-capture one_seed`; `KEELSON_LENGTH=long` for a long history, `wide` for
//! one with a thousand machines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod directed;
mod members;
mod network;
mod store;

use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clients::History;
use etcd_simulation::seed_this_thread;
use fleet_simulation::{Cluster, Options, in_virtual_time};
use store::EtcdCluster;
use tokio::time::Instant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Short histories with few faults and a short TTL, run by `cargo verify`.
const SHORT_SEEDS: Range<u64> = 1..61;
const SHORT: Length =
    Length { faults: 3, options: Options { ttl: Duration::from_secs(10), ..Options::DEFAULT } };
/// More of them, for the soak.
const MORE_SEEDS: Range<u64> = 61..461;
/// Seeds of the long run.
const LONG_SEEDS: Range<u64> = 1_000..1_500;
const LONG: Length = Length { faults: 12, options: Options::DEFAULT };
/// A thousand machines. Without global units, since each would run a thousand times.
const WIDE: Length = Length {
    faults: 2,
    options: Options {
        machines: Some(1_000),
        units: 100,
        texts: &["", "", "AllowOverlap=yes\n", "StopOnPartition=no\n"],
        ..Options::DEFAULT
    },
};

const SEED: &str = "KEELSON_SEED";
const LENGTH: &str = "KEELSON_LENGTH";

#[derive(Clone, Copy)]
struct Length {
    /// Number of faults.
    faults: usize,
    options: Options,
}

impl Length {
    /// By the value of [`LENGTH`].
    fn of(name: Option<&str>) -> Self {
        match name {
            Some("long") => LONG,
            Some("wide") => WIDE,
            _ => SHORT,
        }
    }
}

/// Runs a seed and returns its failures. On a thread of its own, so that thread-local state of libraries starts
/// fresh.
fn run(seed: u64, length: Length) -> Vec<String> {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Relaxed);
        default(panic);
    }));
    let history = std::thread::spawn(move || {
        seed_this_thread(seed);
        simulate(seed, length)
    });
    let mut faults = history.join().unwrap_or_default();
    // Also in a task whose result is dropped.
    if PANICKED.load(Ordering::Relaxed) {
        faults.push("something panicked".to_owned());
    }
    faults
}

static PANICKED: AtomicBool = AtomicBool::new(false);

fn simulate(seed: u64, length: Length) -> Vec<String> {
    in_virtual_time(async {
        log(Instant::now());
        let options = Options { verbose: true, ..length.options };
        let mut cluster = Cluster::new(seed, options, EtcdCluster::new).await;
        let history = History::start(&cluster.service, &mut fastrand::Rng::with_seed(!seed));
        for _ in 0..length.faults {
            cluster.inject_random_fault().await;
        }
        cluster.check_convergence().await;
        let faults = cluster.faults();
        faults.into_iter().chain(history.stop_and_check()).chain(cluster.service.members.stopped()).collect()
    })
}

/// Logs of fleetds and members with virtual time: `SHOW_LOG=info`.
fn log(begun: Instant) {
    let Ok(level) = std::env::var("SHOW_LOG") else { return };
    tracing_subscriber::fmt()
        .with_max_level(level.parse::<tracing::Level>().unwrap())
        .with_timer(Elapsed(begun))
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

struct Elapsed(Instant);

impl FormatTime for Elapsed {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        write!(to, "{:9.3}", self.0.elapsed().as_secs_f64())
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs a seed in a separate process. Returns whether it passed, and its log.
fn run_in_process(seed: u64, length: &str) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["one_seed", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(SEED, seed.to_string()).env(LENGTH, length).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs these seeds, or those of `KEELSON_SEEDS`; with `parity` every second one.
fn run_seeds(length: &str, default: Range<u64>, parity: Option<u64>) {
    let range = |text: String| {
        let (from, to) = text.split_once("..").expect("KEELSON_SEEDS is a range, as 7..8");
        from.parse().unwrap()..to.parse().unwrap()
    };
    let seeds = variable("KEELSON_SEEDS").map_or(default, range);
    let mut failed = Vec::new();
    for seed in seeds.filter(|seed| parity.is_none_or(|parity| seed % 2 == parity)) {
        let (passed, log) = run_in_process(seed, length);
        if !passed {
            eprintln!("{log}\nseed {seed} ({length})");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "again: {SEED}={} {LENGTH}={length}; all that failed: {failed:?}", failed[0]);
}

// Two tests, to use two processors.
#[test]
fn no_unit_twice_and_none_lost_of_even_seeds() {
    run_seeds("short", SHORT_SEEDS, Some(0));
}

#[test]
fn no_unit_twice_and_none_lost_of_odd_seeds() {
    run_seeds("short", SHORT_SEEDS, Some(1));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let log_of = |seed| {
        let is_log_line = |line: &&str| line.trim_start().starts_with(|first: char| first.is_ascii_digit());
        run_in_process(seed, "short").1.lines().filter(is_log_line).map(str::to_owned).collect::<Vec<_>>()
    };
    for seed in 1..6 {
        let (first, second) = (log_of(seed), log_of(seed));
        assert!(first.len() > 10, "seed {seed}: {first:?}");
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(log_of(1), log_of(2), "the seed decides nothing");
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_short_histories_hold() {
    run_seeds("short", MORE_SEEDS, None);
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_long_histories_hold() {
    run_seeds("long", LONG_SEEDS, None);
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_a_history_of_a_thousand_machines_holds() {
    let (passed, log) = run_in_process(1, "wide");
    assert!(passed, "{log}");
}

/// Runs in the process that the other tests start.
#[test]
#[ignore = "started by the others, a process for each seed"]
fn one_seed() {
    let Some(seed) = variable(SEED) else { return };
    let length = Length::of(variable(LENGTH).as_deref());
    assert_eq!(run(seed.parse().unwrap(), length), Vec::<String>::new());
}
