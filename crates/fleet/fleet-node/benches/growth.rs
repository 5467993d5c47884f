//! Cost of starting all units of a cluster as it grows: `cargo bench -p fleet-node --bench growth -- [--plot FILE]
//! [MACHINES...]`. For docs/benchmarks.md.
//!
//! Runs `fleet-simulation`: real nodes over an in-memory store and machines, in one thread. Lines of `figure`,
//! `what`, `target` and `measured`, separated by tabs, are for `cargo xtask bench fleet`.

#![allow(clippy::unwrap_used)] // A measurement, no part of any program.

use std::path::Path;

use conformance::load::{Chart, Line, Tone, plot};
use fleet_simulation::RequestKind::{
    self, Claim, DesiredState, Lease, Other, Presence, Renewal, Snapshot, State, Target,
};
use fleet_simulation::mass_start::{Measurement, measure};

const MACHINES: [usize; 3] = [10, 100, 1_000];
const UNITS_OF_A_MACHINE: usize = 10;
/// Writes that the cluster itself makes for a start.
const OURS: [RequestKind; 3] = [Target, Claim, State];
/// Lines of the first chart.
const KINDS: [(&str, Tone, &[RequestKind]); 4] = [
    ("target, claim, states", Tone::Blue, &OURS),
    ("states alone", Tone::Green, &[State]),
    ("the client's order", Tone::Grey, &[DesiredState]),
    ("beats and the rest", Tone::Orange, &[Presence, Renewal, Lease, Snapshot, Other]),
];
const BESIDE: &[RequestKind] = KINDS[3].2;

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
        let seen = measure(machines, machines * UNITS_OF_A_MACHINE);
        print_figures(machines, &seen);
        all.push((machines, seen));
    }
    if let Some(file) = picture {
        let title = "All units started at once, ten a machine (simulation)";
        plot(Path::new(&file), title, &charts(&all)).unwrap();
    }
}

fn print_figures(machines: usize, seen: &Measurement) {
    let each = |abouts: &[RequestKind]| seen.requests_per_unit(abouts);
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
        each(&[DesiredState]),
        each(BESIDE),
    );
    figure("requests to the store for each start, by the cluster's own parts", "<= 3", &requests);
    let time = format!(
        "{:.2} s, of which {:.2} s to order them",
        seen.converged.as_secs_f64(),
        seen.submitted.as_secs_f64()
    );
    figure("the simulation's time until a node knows all to be active", "", &time);
    let cpu_time = seen.cpu_time.as_secs_f64();
    let of_machine = 1e3 * cpu_time / machines as f64;
    let time = format!("{cpu_time:.1} s, {of_machine:.1} ms a machine; peak of memory {} MiB", peak());
    figure("processor time of all machines and the store", "", &time);
    let idle: u64 = seen.idle.values().sum();
    let (of_machine, kinds) = (idle as f64 / machines as f64, &seen.idle);
    figure("requests of a minute before, idle", "", &format!("{of_machine:.1} a machine; all: {kinds:?}"));
}

fn charts(all: &[(usize, Measurement)]) -> Vec<Chart<'static>> {
    let line = |name, tone, with_service: &dyn Fn(usize, &Measurement) -> f64| Line {
        name,
        tone,
        points: all
            .iter()
            .map(|(machines, seen)| (*machines as f64, with_service(*machines, seen)))
            .collect(),
    };
    let chart = |caption: &str, logarithmic, lines| Chart {
        caption: caption.into(),
        along: "machines",
        few_steps: false,
        logarithmic,
        lines,
    };
    let requests = KINDS
        .iter()
        .map(|(name, tone, abouts)| line(*name, *tone, &|_, seen| seen.requests_per_unit(abouts)))
        .collect();
    let times = vec![
        line("all active", Tone::Blue, &|_, seen| seen.converged.as_secs_f64()),
        line("all ordered", Tone::Grey, &|_, seen| seen.submitted.as_secs_f64()),
    ];
    let idle = |machines: usize, seen: &Measurement| seen.idle.values().sum::<u64>() as f64 / machines as f64;
    let cpu_time = |machines: usize, seen: &Measurement| 1e3 * seen.cpu_time.as_secs_f64() / machines as f64;
    vec![
        chart("requests to the store for each start", false, requests),
        chart("the simulation's time (s)", true, times),
        chart("processor time of a machine (ms)", true, vec![line("of each", Tone::Blue, &cpu_time)]),
        chart("idle: requests of a machine in a minute", false, vec![line("of each", Tone::Blue, &idle)]),
    ]
}

/// Peak memory in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
