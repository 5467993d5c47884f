//! The whole system in one thread, from a seed: fleetds with the client that they have, its time-outs and watches; members
//! of the store behind their HTTP front, on disks and clocks of their own; and a network that cuts, delays and resets their
//! connections. No unit may ever run twice, and in the end all that is asked for runs. Time is tokio's own, which jumps to
//! the next thing that waits.
//!
//! `KEELSON_SEEDS=7..99` runs others than the usual ones, `KEELSON_SEED=17` just that one, with its story, and
//! `SHOW_LOG=info` with what the programs log.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../member/tests/simulation/chance.rs"]
#[allow(dead_code, reason = "the store's own simulation draws more from it")]
mod chance;
mod clients;
mod directed;
mod members;
mod network;
mod store;

use std::ops::Range;
use std::time::Duration;

use clients::History;
use fleet_simulation::{Options, TTL, World};
use store::Whole;
use tokio::time::Instant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Histories with few troubles and a short TTL, which `cargo verify` runs.
const FEW: Range<u64> = 1..201;
const SHORT: Length = Length { troubles: 3, ttl: Duration::from_secs(10) };
/// Histories of the long run.
const MANY: Range<u64> = 1_000..1_500;
const LONG: Length = Length { troubles: 12, ttl: TTL };

#[derive(Clone, Copy)]
struct Length {
    /// What goes wrong in one history.
    troubles: usize,
    ttl: Duration,
}

/// On a thread of its own: what libraries keep for a thread begins with the seed.
fn run(seed: u64, length: Length, told: bool) -> Vec<String> {
    let history = std::thread::spawn(move || {
        chance::seed_this_thread(seed);
        simulate(seed, length, told)
    });
    history.join().unwrap_or_else(|_| vec!["it panicked".to_owned()])
}

fn in_virtual_time<T>(history: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(history)
}

fn simulate(seed: u64, length: Length, told: bool) -> Vec<String> {
    in_virtual_time(async {
        if told {
            log(Instant::now());
        }
        let options = Options { told, ttl: length.ttl, ..Options::default() };
        let mut world = World::new(seed, options, Whole::new).await;
        let history = History::begin(&world.service, &mut fastrand::Rng::with_seed(!seed));
        for _ in 0..length.troubles {
            world.trouble().await;
        }
        world.end_well().await;
        let faults = world.faults();
        faults.into_iter().chain(history.end()).collect()
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

/// These seeds, or those that `KEELSON_SEEDS` names, of which every second one where `parity` says which.
fn must_hold(length: Length, usual: Range<u64>, parity: Option<u64>) {
    if let Some(seed) = variable("KEELSON_SEED") {
        assert_eq!(run(seed.parse().unwrap(), length, true), Vec::<String>::new());
        return;
    }
    let range = |text: String| {
        let (from, to) = text.split_once("..").expect("KEELSON_SEEDS is a range, as 7..8");
        from.parse().unwrap()..to.parse().unwrap()
    };
    let seeds = variable("KEELSON_SEEDS").map_or(usual, range);
    let wanted = |seed: &u64| parity.is_none_or(|parity| seed % 2 == parity);
    let bad: Vec<(u64, Vec<String>)> = seeds
        .filter(wanted)
        .map(|seed| (seed, run(seed, length, false)))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

// Two tests, for two processors.
#[test]
fn no_unit_twice_and_none_lost_of_even_seeds() {
    must_hold(SHORT, FEW, Some(0));
}

#[test]
fn no_unit_twice_and_none_lost_of_odd_seeds() {
    must_hold(SHORT, FEW, Some(1));
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_long_histories_hold() {
    must_hold(LONG, MANY, None);
}
