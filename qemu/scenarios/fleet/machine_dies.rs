//! A machine dies and later returns.

use super::super::kv::{NODES, SOON};
use super::cluster::{failover_limit, form_with, impatient, put, start_each, ttl, wait_for_machines};
use super::heartbeats::{FOLDER, Heartbeats, SERVICE, now};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use machines::cluster::BackendKind::Qemu;

pub const MACHINE_DIES: Scenario = Scenario {
    name: "fleet-machine-dies",
    about: "a dead machine's units run elsewhere in the time that was promised, none is lost and none runs twice",
    nodes: NODES,
    shared: &[FOLDER],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: machine_dies,
    ..DEFAULTS
};

fn machine_dies(context: &Context<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let members = form_with(context, &impatient(context))?;
    let [dies, second, third] = &members;
    let heartbeats = Heartbeats::new(&context.shared(1));
    let client = &second.machine;
    put(client, "beat@.service", SERVICE)?;
    let places = [dies, second, third, dies, second, third];
    let names: Vec<_> = (1..=places.len()).map(|number| format!("beat@{number}")).collect();
    let wanted: Vec<_> = names.iter().map(String::as_str).zip(places).collect();
    start_each(client, &wanted)?;
    let units: Vec<_> = names.iter().map(|name| format!("{name}.service")).collect();
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(&units, &all, SOON)?;

    let died = now();
    dies.machine.crash()?;
    let moved = heartbeats.wait(&units, &all[1..], ttl(context) + SOON)?;
    let last = moved.iter().map(|run| run.first).max().unwrap_or_default().saturating_sub(died);
    let limit = failover_limit(context, slowdown.until_now(context)?);
    eprintln!("the last unit runs elsewhere after {last:.1?}");
    expect(last <= limit, &format!("all units elsewhere within {limit:?}"), &format!("{last:?}"))?;
    wait_for_machines(client, &[second, third])?;
    heartbeats.never_twice()?;

    // A machine that returns is found, gets none of its units back, and accepts new ones.
    dies.machine.start()?;
    wait_for_machines(client, &members.iter().collect::<Vec<_>>())?;
    start_each(client, &[("beat@7", dies)])?;
    let fresh = heartbeats.wait(&["beat@7.service".to_owned()], &all[..1], SOON)?;
    let now_running: Vec<_> = moved.into_iter().chain(fresh).collect();
    heartbeats.undisturbed(&now_running, "when the machine is back,")?;
    heartbeats.never_twice()
}
