//! A partitioned machine stops its units before others may start them.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON};
use super::cluster::{Member, failover_limit, form_with, impatient, put, start_each, ttl, wait_for_machines};
use super::heartbeats::{FOLDER, Heartbeats, Run, SERVICE, doubles, now};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const PARTITION: Scenario = Scenario {
    name: "fleet-partition",
    about: "a machine that is cut off has stopped its units before others start them",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    shared: &[FOLDER],
    run: partition,
    ..DEFAULTS
};

/// Keeps running where it is cut off, and so may run twice: a control that shows that this is detected.
const STUBBORN: &str = "stubborn.service";
const EVERYWHERE: &str = "everywhere.service";

fn partition(context: &Context<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let members = form_with(context, &impatient(context))?;
    let [alone, second, third] = &members;
    let heartbeats = Heartbeats::new(&context.shared(1));
    let client = &second.machine;
    start(client, &members)?;
    let units: Vec<_> = (1..=6).map(beat).chain([STUBBORN.to_owned()]).collect();
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(&units, &all, SOON)?;
    for id in &all {
        heartbeats.wait(&[EVERYWHERE.to_owned()], &[id], SOON)?;
    }

    let cut = now();
    alone.machine.partition()?;
    let moved = heartbeats.wait(&units, &all[1..], ttl(context) + SOON)?;
    let last = moved.iter().map(|run| run.first).max().unwrap_or_default().saturating_sub(cut);
    let limit = failover_limit(context, slowdown.until_now(context)?);
    eprintln!("the last unit runs elsewhere after {last:.1?}");
    expect(last <= limit, &format!("all units elsewhere within {limit:?}"), &format!("{last:?}"))?;
    only_the_stubborn_one_runs_twice(&heartbeats)?;
    let took_over = moved.iter().map(|run| run.first).min().unwrap_or_default();
    let continues = |run: &Run| run.unit == EVERYWHERE && run.machine == alone.id && run.last >= took_over;
    expect(heartbeats.runs()?.iter().any(continues), "a global unit to run on", "it was stopped")?;
    for unit in [beat(1), beat(4)] {
        stopped_before_it_started(&unit, alone, &[second, third])?;
    }

    alone.machine.heal()?;
    wait_for_machines(client, &members.iter().collect::<Vec<_>>())?;
    alone.machine.wait_until_fails(&format!("systemctl is-active {STUBBORN}"), SOON)?;
    // It gets none of its units back, and accepts new ones.
    start_each(client, &[("beat@7", alone)])?;
    heartbeats.wait(&[beat(7)], &all[..1], SOON)?;
    let runs = heartbeats.runs()?;
    let started = runs.iter().filter(|run| run.machine == alone.id && run.first > cut);
    let started: Vec<_> = started.map(|run| run.unit.clone()).collect();
    expect(started == [beat(7)], "only the new unit to begin there", &started.join(" "))?;
    only_the_stubborn_one_runs_twice(&heartbeats)
}

fn beat(number: usize) -> String {
    format!("beat@{number}.service")
}

/// Starts two units on each machine, the stubborn one on the first, and a global one.
fn start(client: &Machine<'_>, members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    let [alone, second, third] = members;
    put(client, "beat@.service", SERVICE)?;
    put(client, STUBBORN, &format!("{SERVICE}\n[X-Fleet]\nStopOnPartition=no\n"))?;
    put(client, EVERYWHERE, &format!("{SERVICE}\n[X-Fleet]\nGlobal=true\n"))?;
    start_each(client, &[("beat@1", alone), ("beat@2", second), ("beat@3", third)])?;
    start_each(client, &[("beat@4", alone), ("beat@5", second), ("beat@6", third), ("stubborn", alone)])?;
    client.succeed("fleetctl start everywhere")?;
    Ok(())
}

fn only_the_stubborn_one_runs_twice(heartbeats: &Heartbeats) -> Result<(), Failure> {
    let mut runs = heartbeats.wait_for_a_double(STUBBORN, SOON)?;
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
