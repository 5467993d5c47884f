//! A partitioned machine stops its units before others may start them.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON};
use super::beats::{Beats, FOLDER, Run, SERVICE, doubles, now};
use super::cluster::{Member, form_with, impatient, put, start_each, taken_over, ttl, wait_for_machines};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const PARTITION: Scenario = Scenario {
    name: "fleet-partition",
    about: "a machine that is cut off has stopped its units before others start them",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    shared: &[FOLDER],
    run: partition,
    ..USUAL
};

/// Keeps running where it is cut off, and so may run twice: a control that shows that this is detected.
const STUBBORN: &str = "stubborn.service";
const EVERYWHERE: &str = "everywhere.service";

fn partition(stage: &Stage<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let members = form_with(stage, &impatient(stage))?;
    let [alone, second, third] = &members;
    let beats = Beats::new(&stage.shared(1));
    let typed = &second.machine;
    start(typed, &members)?;
    let units: Vec<_> = (1..=6).map(beat).chain([STUBBORN.to_owned()]).collect();
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    beats.wait(&units, &all, SOON)?;
    for id in &all {
        beats.wait(&[EVERYWHERE.to_owned()], &[id], SOON)?;
    }

    let cut = now();
    alone.machine.partition()?;
    let moved = beats.wait(&units, &all[1..], ttl(stage) + SOON)?;
    let last = moved.iter().map(|run| run.first).max().unwrap_or_default().saturating_sub(cut);
    let limit = taken_over(stage, slowdown.until_now(stage)?);
    eprintln!("the last unit runs elsewhere after {last:.1?}");
    expect(last <= limit, &format!("all units elsewhere within {limit:?}"), &format!("{last:?}"))?;
    only_the_stubborn_one_runs_twice(&beats)?;
    let took_over = moved.iter().map(|run| run.first).min().unwrap_or_default();
    let goes_on = |run: &Run| run.unit == EVERYWHERE && run.machine == alone.id && run.last >= took_over;
    expect(beats.runs()?.iter().any(goes_on), "a global unit to run on", "it was stopped")?;
    for unit in [beat(1), beat(4)] {
        stopped_before_it_started(&unit, alone, &[second, third])?;
    }

    alone.machine.heal()?;
    wait_for_machines(typed, &members.iter().collect::<Vec<_>>())?;
    alone.machine.wait_until_fails(&format!("systemctl is-active {STUBBORN}"), SOON)?;
    // It gets none of its units back, and accepts new ones.
    start_each(typed, &[("beat@7", alone)])?;
    beats.wait(&[beat(7)], &all[..1], SOON)?;
    let runs = beats.runs()?;
    let begun = runs.iter().filter(|run| run.machine == alone.id && run.first > cut);
    let begun: Vec<_> = begun.map(|run| run.unit.clone()).collect();
    expect(begun == [beat(7)], "only the new unit to begin there", &begun.join(" "))?;
    only_the_stubborn_one_runs_twice(&beats)
}

fn beat(number: usize) -> String {
    format!("beat@{number}.service")
}

/// Starts two units on each machine, the stubborn one on the first, and a global one.
fn start(typed: &Machine<'_>, members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    let [alone, second, third] = members;
    put(typed, "beat@.service", SERVICE)?;
    put(typed, STUBBORN, &format!("{SERVICE}\n[X-Fleet]\nStopOnPartition=no\n"))?;
    put(typed, EVERYWHERE, &format!("{SERVICE}\n[X-Fleet]\nGlobal=true\n"))?;
    start_each(typed, &[("beat@1", alone), ("beat@2", second), ("beat@3", third)])?;
    start_each(typed, &[("beat@4", alone), ("beat@5", second), ("beat@6", third), ("stubborn", alone)])?;
    typed.succeed("fleetctl start everywhere")?;
    Ok(())
}

fn only_the_stubborn_one_runs_twice(beats: &Beats) -> Result<(), Failure> {
    let mut runs = beats.wait_for_a_double(STUBBORN, SOON)?;
    runs.retain(|run| run.unit != EVERYWHERE);
    let mut twice: Vec<_> = doubles(&runs).iter().map(|(one, _)| one.unit.as_str()).collect();
    twice.dedup();
    let lines: Vec<_> = runs.iter().map(ToString::to_string).collect();
    expect(twice == [STUBBORN], "only stubborn.service twice at a time", &lines.join("; "))
}

/// Checks the order by the journals too.
fn stopped_before_it_started(unit: &str, before: &Member<'_>, others: &[&Member<'_>]) -> Result<(), Failure> {
    let moment = |member: &Member<'_>, word: &str| -> Result<f64, Failure> {
        let line = member.machine.succeed(&format!(
            "journalctl --no-pager --output=short-unix --unit {unit} | grep ': {word} {unit}' | tail -1"
        ))?;
        Ok(line.split(' ').next().and_then(|moment| moment.parse().ok()).unwrap_or(f64::INFINITY))
    };
    let stopped = moment(before, "Stopped")?;
    let started = others.iter().map(|member| moment(member, "Started")).collect::<Result<Vec<_>, _>>()?;
    let started = started.into_iter().fold(f64::INFINITY, f64::min);
    expect(stopped < started, &format!("{unit} to stop first"), &format!("{stopped} and {started}"))
}
