//! What starting all units of a cluster costs as it grows:
//! `cargo bench -p fleet-node --bench growth -- [--plot FILE] [MACHINES...]`. For docs/benchmarks.md.
//!
//! It is the simulation of `fleet-simulation`: the nodes' own code, with a store and machines in memory, in one thread.
//! Lines of `figure`, `what`, `target` and `measured`, with tabs between, are for `cargo xtask bench fleet`.

#![allow(clippy::unwrap_used)] // A measurement, no part of any program.

use std::path::Path;

use conformance::load::{Chart, Line, Tone, plot};
use fleet_simulation::About::{self, Claim, Lease, Order, Other, Presence, Reading, Renewal, State, Target};
use fleet_simulation::all_at_once::{Seen, start};

const MACHINES: [usize; 3] = [10, 100, 1_000];
const UNITS_OF_A_MACHINE: usize = 10;
/// What the cluster's own parts do for a start.
const OURS: [About; 3] = [Target, Claim, State];
/// The lines of the first chart.
const KINDS: [(&str, Tone, &[About]); 4] = [
    ("target, claim, states", Tone::Blue, &OURS),
    ("states alone", Tone::Green, &[State]),
    ("the client's order", Tone::Grey, &[Order]),
    ("beats and the rest", Tone::Orange, &[Presence, Renewal, Lease, Reading, Other]),
];
const BESIDE: &[About] = KINDS[3].2;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let picture = words.iter().position(|word| word == "--plot").map(|at| {
        let file = words.remove(at + 1);
        words.remove(at);
        file
    });
    let mut machines: Vec<usize> = words.iter().map(|word| word.parse().unwrap()).collect();
    if machines.is_empty() {
        machines = MACHINES.into();
    }
    let mut all = Vec::new();
    for machines in machines {
        let seen = start(machines, machines * UNITS_OF_A_MACHINE);
        tell(machines, &seen);
        all.push((machines, seen));
    }
    if let Some(file) = picture {
        let title = "All units started at once, ten a machine (simulation)";
        plot(Path::new(&file), title, &charts(&all)).unwrap();
    }
}

fn tell(machines: usize, seen: &Seen) {
    let each = |abouts: &[About]| seen.each(abouts);
    let figure = |what: &str, target: &str, measured: &str| {
        println!(
            "figure\t{machines} machines, {} units started at once: {what}\t{target}\t{measured}",
            seen.units
        );
    };
    let requests = format!(
        "{:.2} (target {:.2}, claim {:.2}, states {:.2}); beside them the client's order {:.2}, beats and the rest {:.2}",
        each(&OURS),
        each(&[Target]),
        each(&[Claim]),
        each(&[State]),
        each(&[Order]),
        each(BESIDE),
    );
    figure("requests to the store for each start, by the cluster's own parts", "<= 3", &requests);
    let time = format!(
        "{:.2} s, of which {:.2} s to order them",
        seen.converged.as_secs_f64(),
        seen.ordered.as_secs_f64()
    );
    figure("the simulation's time until a node knows all to be active", "", &time);
    let processor = seen.processor.as_secs_f64();
    let of_machine = 1e3 * processor / machines as f64;
    let time = format!("{processor:.1} s, {of_machine:.1} ms a machine; peak of memory {} MiB", peak());
    figure("processor time of all machines and the store", "", &time);
    let idle: u64 = seen.idle.values().sum();
    let (of_machine, kinds) = (idle as f64 / machines as f64, &seen.idle);
    figure("requests of a minute before, idle", "", &format!("{of_machine:.1} a machine; all: {kinds:?}"));
}

fn charts(all: &[(usize, Seen)]) -> Vec<Chart<'static>> {
    let line = |name, tone, of: &dyn Fn(usize, &Seen) -> f64| Line {
        name,
        tone,
        points: all.iter().map(|(machines, seen)| (*machines as f64, of(*machines, seen))).collect(),
    };
    let chart = |caption: &str, logarithmic, lines| Chart {
        caption: caption.into(),
        along: "machines",
        few_steps: false,
        logarithmic,
        lines,
    };
    let requests =
        KINDS.iter().map(|(name, tone, abouts)| line(*name, *tone, &|_, seen| seen.each(abouts))).collect();
    let times = vec![
        line("all active", Tone::Blue, &|_, seen| seen.converged.as_secs_f64()),
        line("all ordered", Tone::Grey, &|_, seen| seen.ordered.as_secs_f64()),
    ];
    let idle = |machines: usize, seen: &Seen| seen.idle.values().sum::<u64>() as f64 / machines as f64;
    let processor = |machines: usize, seen: &Seen| 1e3 * seen.processor.as_secs_f64() / machines as f64;
    vec![
        chart("requests to the store for each start", false, requests),
        chart("the simulation's time (s)", true, times),
        chart("processor time of a machine (ms)", true, vec![line("of each", Tone::Blue, &processor)]),
        chart("idle: requests of a machine in a minute", false, vec![line("of each", Tone::Blue, &idle)]),
    ]
}

/// Of the memory so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
