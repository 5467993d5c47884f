//! Cost of scheduling passes: `cargo bench -p fleet-core --bench schedule [MACHINES UNITS]`. For docs/benchmarks.md.
//! Lines of `figure`, what, target and measured, separated by tabs, are for `cargo xtask bench fleet`.

#![allow(clippy::unwrap_used)] // A measurement, no part of any program.

use std::time::{Duration, Instant};

use fleet_core::schedule::{Scheduler, Task};
use fleet_core::{JobState, Machine, MachineId, Unit};
use unit_file::{Requirements, UnitFile, UnitName};

const RUNS: usize = 15;
const ZONES: usize = 10;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let (machines, units) = (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(10_000));
    let units: Vec<_> = (0..units).map(|number| unit(number, machines)).collect();
    let constrained = units.iter().filter(|unit| *unit.requirements != Requirements::default()).count();
    let cluster = format!("{machines} machines, {} units, constraints on {constrained}", units.len());
    println!("{cluster}; medians of {RUNS}");
    let figure = |what: &str, target: &str, measured: &str| {
        println!("figure\t{cluster}: {what}\t{target}\t{measured}");
    };

    let mut fed = Vec::new();
    let mut first = Vec::new();
    let mut placed = 0;
    let mut scheduler = Scheduler::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        scheduler = with(machines, &units);
        fed.push(start.elapsed());
        let start = Instant::now();
        placed = scheduler.pass().len();
        first.push(start.elapsed());
    }
    println!("all facts told: {:?}", median(&mut fed));
    let all = format!("one scheduling pass, all to place ({placed} find one), median of {RUNS}");
    figure(&all, "<= 50 ms", &millis(median(&mut first)));

    let mut whole = Vec::new();
    let assigned = assigned(machines, &units);
    for _ in 0..RUNS {
        let mut again = with(machines, &assigned);
        let start = Instant::now();
        let tasks = again.pass();
        whole.push(start.elapsed());
        assert!(tasks.iter().all(|task| matches!(task, Task::Schedule { .. })), "something moved");
    }
    let again = format!("one pass of a new scheduler, all placed already, median of {RUNS}");
    figure(&again, "<= 50 ms", &millis(median(&mut whole)));

    let mut one_more = Vec::new();
    for number in 0..1_000 {
        let unit = unit(units.len() + number, machines);
        let start = Instant::now();
        scheduler.set_unit(unit);
        let tasks = scheduler.pass();
        one_more.push(start.elapsed());
        assert!(matches!(tasks[..], [Task::Schedule { .. }]), "{tasks:?}");
    }
    let worst = one_more.iter().max().copied().unwrap_or_default();
    let more = format!("{}, worst of 1,000 {}", millis(median(&mut one_more)), millis(worst));
    figure("one more unit, told and placed, median", "<= 1 ms", &more);

    let mut lost = Vec::new();
    for number in 0..RUNS {
        let start = Instant::now();
        scheduler.remove_machine(&machine_id(number * 7));
        let tasks = scheduler.pass();
        lost.push(start.elapsed());
        assert!(!tasks.is_empty());
    }
    println!("a machine lost, its units placed elsewhere: {:?}", median(&mut lost));
    let start = Instant::now();
    let explanation = scheduler.explain(units[0].name.as_str()).unwrap();
    println!("explaining one unit over {} machines: {:?}", explanation.candidates.len(), start.elapsed());
    scarce(machines, units.len());
}

/// Most units cannot be placed: each conflicts with all others.
fn scarce(machines: usize, units: usize) {
    let units: Vec<_> =
        (0..units).map(|number| unit_with_options(&format!("x-{number}.service"), "Conflicts=x-*")).collect();
    let (mut whole, mut again) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut scheduler = with(machines, &units);
        let start = Instant::now();
        assert_eq!(scheduler.pass().len(), machines.min(units.len()));
        whole.push(start.elapsed());
        let start = Instant::now();
        scheduler.set_machine(Machine::new("one-more"));
        assert_eq!(scheduler.pass().len(), usize::from(units.len() > machines));
        again.push(start.elapsed());
    }
    println!("a whole pass where a unit a machine has place: {:?}", median(&mut whole));
    println!("one machine more there, all that wait tried: {:?}", median(&mut again));
}

fn machine_id(number: usize) -> MachineId {
    MachineId::new(&format!(
        "{:032x}",
        (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    ))
}

fn with(machines: usize, units: &[Unit]) -> Scheduler {
    let mut scheduler = Scheduler::new();
    for number in 0..machines {
        let mut machine = Machine::new(machine_id(number).as_str());
        machine.metadata.insert("zone".into(), format!("zone-{}", number % ZONES));
        machine.metadata.insert("disk".into(), if number % 3 == 0 { "ssd" } else { "spinning" }.into());
        scheduler.set_machine(machine);
    }
    for unit in units {
        scheduler.set_unit(unit.clone());
    }
    scheduler
}

/// Units with the targets that passes have assigned.
fn assigned(machines: usize, units: &[Unit]) -> Vec<Unit> {
    let mut scheduler = with(machines, units);
    let mut by_name: std::collections::BTreeMap<_, _> =
        units.iter().map(|unit| (unit.name.clone(), unit.clone())).collect();
    for task in scheduler.pass() {
        if let Task::Schedule { unit, machine, .. } = task {
            by_name.get_mut(&unit).unwrap().target = Some(machine);
        }
    }
    by_name.into_values().collect()
}

/// Two of three units have no requirements; the others use each constraint in turn.
fn unit(number: usize, machines: usize) -> Unit {
    let (name, options) = match number % 3 {
        0 | 1 => (format!("plain-{number}.service"), String::new()),
        _ => match number / 3 % 6 {
            0 => (format!("zone-{number}.service"), format!("MachineMetadata=zone=zone-{}", number % ZONES)),
            1 => (format!("web-{}@{number}.service", number % 40), "Conflicts=%p@*.service".into()),
            2 => (format!("follower-{number}.service"), format!("MachineOf=plain-{}.service", number - 1)),
            3 => (
                format!("fast-{number}.service"),
                format!("MachineMetadata=disk=ssd\nConflicts=fast-*{}.service", number % 10),
            ),
            4 => (format!("fixed-{number}.service"), format!("MachineID={}", machine_id(number % machines))),
            _ => (format!("big-{number}.service"), "MemoryRequest=2G\nCPURequest=1".into()),
        },
    };
    unit_with_options(&name, &options)
}

fn unit_with_options(name: &str, options: &str) -> Unit {
    let name = UnitName::parse(name).unwrap();
    let file = UnitFile::from_text(&format!("[X-Fleet]\n{options}\n")).unwrap();
    let (wanted, findings) = Requirements::read(&file, &name);
    assert!(findings.is_empty(), "{findings:?}");
    Unit::new(name, JobState::Launched, wanted)
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
