//! The whole system in one thread, from a seed: fleetds with the client that they have, its time-outs and watches; members
//! of the store behind their HTTP front, on disks and clocks of their own; and a network that cuts, delays and resets their
//! connections. No unit may ever run twice, and in the end all that is asked for runs. Time is tokio's own, which jumps to
//! the next thing that waits.
//!
//! `KEELSON_SEEDS=7..99` runs others than the usual ones. One alone, with its story, and with what the programs log:
//! `KEELSON_SEED=17 SHOW_LOG=info cargo nextest run -p fleet-simulation --run-ignored precondition --no-capture one_seed`;
//! `KEELSON_LENGTH=long` for one of the long run, `wide` for one of a thousand machines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../../etcd/etcd-raft/tests/simulation/chance.rs"]
#[allow(dead_code, reason = "the store's own simulation draws more from it")]
mod chance;
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
use fleet_simulation::{Cluster, Options, in_virtual_time};
use store::EtcdCluster;
use tokio::time::Instant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Histories with few troubles and a short TTL, which `cargo verify` runs.
const FEW: Range<u64> = 1..201;
const SHORT: Length =
    Length { faults: 3, options: Options { ttl: Duration::from_secs(10), ..Options::DEFAULT } };
/// Histories of the long run.
const MANY: Range<u64> = 1_000..1_500;
const LONG: Length = Length { faults: 12, options: Options::DEFAULT };
/// One of many machines. No unit is global: each would be a thousand.
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
    /// What goes wrong in one history.
    faults: usize,
    options: Options,
}

impl Length {
    /// As [`LENGTH`] has it.
    fn of(name: Option<&str>) -> Self {
        match name {
            Some("long") => LONG,
            Some("wide") => WIDE,
            _ => SHORT,
        }
    }
}

/// What is wrong with the history of this seed, in this process. On a thread of its own: what libraries keep for a thread
/// begins with the seed.
fn run(seed: u64, length: Length) -> Vec<String> {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Relaxed);
        usual(panic);
    }));
    let history = std::thread::spawn(move || {
        chance::seed_this_thread(seed);
        simulate(seed, length)
    });
    let mut faults = history.join().unwrap_or_default();
    // Also a task's, of which nobody else learns.
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
        let history = History::begin(&cluster.service, &mut fastrand::Rng::with_seed(!seed));
        for _ in 0..length.faults {
            cluster.inject_random_fault().await;
        }
        cluster.check_convergence().await;
        let faults = cluster.faults();
        faults.into_iter().chain(history.end()).chain(cluster.service.members.stopped()).collect()
    })
}

/// What fleetds and members log, with the time of the history: `SHOW_LOG=info`.
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

/// One history in a process of its own, so that nothing of one is left in the next: its story, and whether it is as it has
/// to be.
fn story(seed: u64, length: &str) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["one_seed", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(SEED, seed.to_string()).env(LENGTH, length).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// These seeds, or those that `KEELSON_SEEDS` names, of which every second one where `parity` says which.
fn must_hold(length: &str, usual: Range<u64>, parity: Option<u64>) {
    let range = |text: String| {
        let (from, to) = text.split_once("..").expect("KEELSON_SEEDS is a range, as 7..8");
        from.parse().unwrap()..to.parse().unwrap()
    };
    let seeds = variable("KEELSON_SEEDS").map_or(usual, range);
    let mut bad = Vec::new();
    for seed in seeds.filter(|seed| parity.is_none_or(|parity| seed % 2 == parity)) {
        let (held, story) = story(seed, length);
        if !held {
            eprintln!("{story}\nseed {seed} ({length})");
            bad.push(seed);
        }
    }
    assert!(bad.is_empty(), "again: {SEED}={} {LENGTH}={length}; all that failed: {bad:?}", bad[0]);
}

// Two tests, for two processors.
#[test]
fn no_unit_twice_and_none_lost_of_even_seeds() {
    must_hold("short", FEW, Some(0));
}

#[test]
fn no_unit_twice_and_none_lost_of_odd_seeds() {
    must_hold("short", FEW, Some(1));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let verbose = |seed| {
        let of_history = |line: &&str| line.trim_start().starts_with(|first: char| first.is_ascii_digit());
        story(seed, "short").1.lines().filter(of_history).map(str::to_owned).collect::<Vec<_>>()
    };
    for seed in 1..6 {
        let (once, again) = (verbose(seed), verbose(seed));
        assert!(once.len() > 10, "seed {seed}: {once:?}");
        assert_eq!(once, again, "seed {seed}");
    }
    assert_ne!(verbose(1), verbose(2), "the seed decides nothing");
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_long_histories_hold() {
    must_hold("long", MANY, None);
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_a_history_of_a_thousand_machines_holds() {
    let (held, story) = story(1, "wide");
    assert!(held, "{story}");
}

/// In the process that the others start for it.
#[test]
#[ignore = "started by the others, a process for each seed"]
fn one_seed() {
    let Some(seed) = variable(SEED) else { return };
    let length = Length::of(variable(LENGTH).as_deref());
    assert_eq!(run(seed.parse().unwrap(), length), Vec::<String>::new());
}
