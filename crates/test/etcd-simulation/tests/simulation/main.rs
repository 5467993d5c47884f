//! Whole clusters in one thread under virtual time, with all randomness from one seed: machines crash, stop and lose
//! unflushed data, networks are partitioned, disks are slow or full, and clocks jump. The same seed gives the same
//! trace, byte for byte.
//!
//! Each seed runs in its own process, because libraries keep global counters. To repeat a seed: `KEELSON_SEEDS=7..8
//! cargo nextest run -p etcd-simulation --test simulation --run-ignored only soak`. `KEELSON_TRACE=FILE` writes the trace,
//! `SHOW_LOG=1` shows the members' log.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod clients;
mod disk_latency;
mod faults;
mod history;
mod isolated_faults;
mod ledger;
mod machine;
mod network;
mod process;
mod run;
mod simulation;
mod stream;
mod trace;
mod watchers;

use process::{SeedResult, run_seed, run_seeds};
use run::Sabotage;

/// The seeds of `cargo verify`.
const FEW_SEEDS: std::ops::Range<u64> = 4..10;
/// The seeds of the soak test, unless `KEELSON_SEEDS=from..to` is set.
const MANY_SEEDS: std::ops::Range<u64> = 1000..3000;
/// Within these seeds sabotage must be detected.
const SABOTAGE_SEEDS: std::ops::Range<u64> = 4..20;

fn must_hold(seeds: std::ops::Range<u64>) {
    let failed = run_seeds(seeds, Sabotage::None, |result| !result.passed);
    if let Some(SeedResult { seed, output, .. }) = failed {
        panic!(
            "{output}\nseed {seed} failed; again: KEELSON_SEEDS={seed}..{} cargo nextest run -p etcd-simulation \
             --test simulation --run-ignored only soak",
            seed + 1
        );
    }
}

fn must_be_caught(sabotage: Sabotage, by: &str) {
    let caught = run_seeds(SABOTAGE_SEEDS, sabotage, |result| !result.passed);
    let output = caught.expect("a broken promise was not seen").output;
    assert!(output.contains(by), "another failure than {by:?}: {output}");
}

#[test]
fn a_few_seeds_hold() {
    must_hold(FEW_SEEDS);
}

#[test]
#[ignore = "thousands of seeds: cargo verify --all soaks"]
fn soak_many_seeds_hold() {
    must_hold(process::seeds_from_environment().unwrap_or(MANY_SEEDS));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let folder = tempfile::tempdir().unwrap();
    let traces = ["once", "again"].map(|name| {
        let path = folder.path().join(name);
        let result = run_seed(FEW_SEEDS.start, Sabotage::None, Some(&path));
        assert!(result.passed, "{}", result.output);
        std::fs::read_to_string(path).unwrap()
    });
    let differ = traces[0].lines().zip(traces[1].lines()).position(|(once, again)| once != again);
    if let Some(line) = differ {
        let [once, again] = traces.each_ref().map(|trace| trace.lines().nth(line).unwrap());
        panic!("the traces part at line {}:\n{once}\n{again}", line + 1);
    }
    assert_eq!(traces[0].len(), traces[1].len());
    let other = folder.path().join("other");
    run_seed(FEW_SEEDS.start + 1, Sabotage::None, Some(&other));
    assert_ne!(std::fs::read_to_string(other).unwrap(), traces[0], "the seed decides nothing");
}

#[test]
fn disks_that_lie_about_syncs_are_caught() {
    must_be_caught(Sabotage::LyingDisks, "");
}

#[test]
fn reads_without_their_barrier_are_caught() {
    must_be_caught(Sabotage::NoBarrier, "not linearizable");
}

#[test]
fn an_event_that_is_not_told_is_caught() {
    must_be_caught(Sabotage::LostEvent, "was not told");
}

/// The child process of the other tests, for one seed.
#[test]
#[ignore = "started by the others, a process for each seed"]
fn one_seed() {
    process::child();
}
