//! fleet while one machine's clock is wrong.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, expect_output, leader};
use super::cluster::{
    Member, failover_limit, form_with, impatient, put, start_each, ttl, wait_for_machines, wait_for_placement,
};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const CLOCK: Scenario = Scenario {
    name: "fleet-clock",
    about: "a clock that jumps an hour ahead and back moves and stops no unit, and dead machines are still found",
    nodes: NODES,
    // Containers share the host's clock.
    on: &[Qemu],
    long_on: &[Qemu],
    run: clock,
    ..DEFAULTS
};

const CLOCK_AHEAD: &str = "sudo date -s '1 hour'";
const CLOCK_BACK: &str = "sudo date -s '1 hour ago'";
const SLEEPS: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
/// Lists the units' processes and their parents.
const PROCESSES: &str =
    "systemctl show --property=Id,MainPID,InvocationID,NRestarts 'one@*' everywhere.service";

/// Time for ssh to query an emulated machine once more.
const QUERY: Duration = Duration::from_secs(10);

fn clock(context: &Context<'_>) -> Result<(), Failure> {
    let limit = failover_limit(context, Slowdown::measured()?);
    let members = form_with(context, &impatient(context))?;
    for member in &members {
        member.machine.succeed("sudo systemctl stop systemd-timesyncd.service")?;
    }
    let [one, two, three] = &members;
    let client = &three.machine;
    put(client, "one@.service", SLEEPS)?;
    put(client, "everywhere.service", &format!("{SLEEPS}\n[X-Fleet]\nGlobal=true\n"))?;
    let spread = [("one@1", one), ("one@2", two), ("one@3", three)];
    start_each(client, &spread)?;
    client.succeed("fleetctl start everywhere")?;
    let everywhere = [("everywhere", one), ("everywhere", two), ("everywhere", three)];
    let places = [&everywhere[..], &spread].concat();
    wait_for_placement(client, &places)?;

    // Two machines: etcd's leader, which keeps the time of keys, and a follower.
    let leads = context.machine(leader(context, client)?);
    let by_name = |name: &str| members.iter().find(|member| member.machine.name() == name);
    let leads = by_name(leads.name()).unwrap_or(one);
    let follows = members.iter().find(|member| member.id != leads.id).unwrap_or(two);
    let mut number = NODES;
    for odd in [follows, leads] {
        for jump in [CLOCK_AHEAD, CLOCK_BACK] {
            let before = processes(&members)?;
            odd.machine.succeed(jump)?;
            // Long enough for a machine that took the jump for elapsed time to declare another one dead.
            std::thread::sleep(limit);
            let after = processes(&members)?;
            expect(before == after, &format!("after `{jump}` the same processes: {before}"), &after)?;
            for member in &members {
                wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
            }
            wait_for_placement(client, &places)?;
            number += 1;
            started_on(odd, number, client)?;
        }
    }
    // An hour ahead, it still detects a dead machine within the promised time.
    follows.machine.succeed(CLOCK_AHEAD)?;
    let dies = members.iter().find(|member| ![&follows.id, &leads.id].contains(&&member.id)).unwrap_or(three);
    let watching = &follows.machine;
    let began = std::time::Instant::now();
    dies.machine.crash()?;
    wait_for_machines(watching, &[follows, leads])?;
    let moved = "fleetctl list-units --full --no-legend --fields=unit,machine,active | grep 'one@'";
    let all = format!("seen=$({moved}); echo \"$seen\"; test $(grep -vc {} <<<\"$seen\") = {NODES}", dies.id);
    watching.wait_until_succeeds(&all, ttl(context) + SOON)?;
    let took = began.elapsed();
    let limit = limit + QUERY;
    expect(took < limit, &format!("its unit elsewhere within {limit:?}"), &format!("{took:?}"))
}

/// Processes of the units on all machines.
fn processes(members: &[Member<'_>]) -> Result<String, Failure> {
    let each = members.iter().map(|member| Ok(member.machine.succeed(PROCESSES)?));
    each.collect()
}

/// Starts, shows and destroys a unit that only this machine can run.
fn started_on(location: &Member<'_>, number: usize, client: &Machine<'_>) -> Result<(), Failure> {
    let unit = format!("pinned{number}");
    put(client, &format!("{unit}.service"), &format!("{SLEEPS}\n[X-Fleet]\nMachineID={}\n", location.id))?;
    start_each(client, &[(&unit, location)])?;
    let list = "fleetctl list-units --no-legend | tr -s '\\t'";
    let row = format!("{list} | grep -P '^{unit}.service\\t\\S+\\tactive\\trunning'");
    client.wait_until_succeeds(&row, SOON)?;
    expect_output(client, &format!("fleetctl destroy {unit}"), &format!("Destroyed {unit}.service\n"))
}
