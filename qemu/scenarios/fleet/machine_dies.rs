//! A machine dies and later returns.

use super::super::kv::{NODES, SOON};
use super::beats::{Beats, FOLDER, SERVICE, now};
use super::cluster::{form_with, impatient, put, start_each, taken_over, ttl, wait_for_machines};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};
use machines::cluster::BackendKind::Qemu;

pub const MACHINE_DIES: Scenario = Scenario {
    name: "fleet-machine-dies",
    about: "a dead machine's units run elsewhere in the time that was promised, none is lost and none runs twice",
    nodes: NODES,
    shared: &[FOLDER],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: machine_dies,
    ..USUAL
};

fn machine_dies(stage: &Stage<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let members = form_with(stage, &impatient(stage))?;
    let [dies, second, third] = &members;
    let beats = Beats::new(&stage.shared(1));
    let typed = &second.machine;
    put(typed, "beat@.service", SERVICE)?;
    let places = [dies, second, third, dies, second, third];
    let names: Vec<_> = (1..=places.len()).map(|number| format!("beat@{number}")).collect();
    let wanted: Vec<_> = names.iter().map(String::as_str).zip(places).collect();
    start_each(typed, &wanted)?;
    let units: Vec<_> = names.iter().map(|name| format!("{name}.service")).collect();
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    beats.wait(&units, &all, SOON)?;

    let died = now();
    dies.machine.crash()?;
    let moved = beats.wait(&units, &all[1..], ttl(stage) + SOON)?;
    let last = moved.iter().map(|run| run.first).max().unwrap_or_default().saturating_sub(died);
    let limit = taken_over(stage, slowdown.until_now(stage)?);
    eprintln!("the last unit runs elsewhere after {last:.1?}");
    expect(last <= limit, &format!("all units elsewhere within {limit:?}"), &format!("{last:?}"))?;
    wait_for_machines(typed, &[second, third])?;
    beats.never_twice()?;

    // A machine that returns is found, gets none of its units back, and accepts new ones.
    dies.machine.start()?;
    wait_for_machines(typed, &members.iter().collect::<Vec<_>>())?;
    start_each(typed, &[("beat@7", dies)])?;
    let fresh = beats.wait(&["beat@7.service".to_owned()], &all[..1], SOON)?;
    let now_running: Vec<_> = moved.into_iter().chain(fresh).collect();
    beats.undisturbed(&now_running, "when the machine is back,")?;
    beats.never_twice()
}
