//! Failures of fleetd and etcd that no unit notices.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{FORMED, NODES, SOON};
use super::cluster::{Member, form_with, put, start_each, ttl, user_data, wait_for_machines};
use super::heartbeats::{FOLDER, Heartbeats, Run, SERVICE};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;

pub const RESTARTS: Scenario = Scenario {
    name: "fleet-restarts",
    about: "fleetd killed, restarted and reloaded, and the store away: units run on as the same processes",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    shared: &[FOLDER],
    run: restarts,
    ..DEFAULTS
};

/// Shorter than a presence TTL of seconds.
const RESTART: &str = r"    - name: fleet.service
      drop-ins:
        - name: 30-restart.conf
          content: |
            [Service]
            RestartSec=500ms
";

/// Without etcd, machines query each other, and the queried machine first checks for a second that etcd is still
/// unreachable. A shorter presence leaves no time for that, nor for the start of fleetd on a slow host.
fn presence(context: &Context<'_>) -> Duration {
    ttl(context).max(Duration::from_secs(10)).mul_f64(slowdown())
}

fn restarts(context: &Context<'_>) -> Result<(), Failure> {
    let presence = presence(context);
    let settings = [format!("agent-ttl: {}s", presence.as_secs()), "purge-on-stop: false".to_owned()];
    let members = form_with(context, &user_data(&settings, RESTART))?;
    let [one, two, three] = &members;
    let heartbeats = Heartbeats::new(&context.shared(1));
    let runs = start(&members, &heartbeats)?;
    let undisturbed = |when: &str| -> Result<(), Failure> {
        for member in &members {
            wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
        }
        heartbeats.undisturbed(&runs, when)
    };

    let main = "systemctl show --property=MainPID --value fleet.service";
    let before = one.machine.succeed(main)?;
    one.machine.succeed("sudo systemctl kill -s KILL fleet.service")?;
    let another = format!("systemctl is-active fleet.service && test $({main}) != {}", before.trim());
    one.machine.wait_until_succeeds(&another, SOON)?;
    undisturbed("after fleetd was killed")?;

    // More often than systemd's default start limit permits.
    two.machine.succeed("for _ in 1 2 3 4 5 6 7; do sudo systemctl restart fleet.service; done")?;
    undisturbed("after fleetd was restarted")?;

    let before = three.machine.succeed(main)?;
    three.machine.succeed("sudo systemctl reload fleet.service")?;
    let reloaded = "journalctl --no-pager -u fleet.service | grep 'Reloading configuration'";
    three.machine.wait_until_succeeds(reloaded, SOON)?;
    undisturbed("after SIGHUP")?;
    let after = three.machine.succeed(main)?;
    expect(before == after, "the same fleetd after SIGHUP", &format!("{before}{after}"))?;
    three.machine.fail("journalctl --no-pager -u fleet.service | grep 'Failed serving HTTP on listener'")?;

    // An unavailable resource stops nothing.
    three.machine.succeed(
        "sudo mkdir -p /etc/fleet && echo etcd_cafile=/none.pem | sudo tee /etc/fleet/fleet.conf && \
         sudo systemctl reload fleet.service",
    )?;
    three
        .machine
        .wait_until_succeeds("systemctl status fleet.service | grep 'the new one is wrong'", SOON)?;
    undisturbed("after SIGHUP with a CA that is not there")?;
    expect(three.machine.succeed(main)? == after, "the same fleetd as before", &after)?;
    three.machine.succeed("sudo rm /etc/fleet/fleet.conf && sudo systemctl reload fleet.service")?;

    without_a_store(presence, &members)?;
    undisturbed("after the store was away")?;
    // No unit was stopped and started in between either.
    let all = heartbeats.runs()?;
    expect(all.len() == runs.len(), "one process a unit", &format!("{all:?}"))
}

/// Starts two units on each machine, one of them global.
fn start(members: &[Member<'_>; NODES], heartbeats: &Heartbeats) -> Result<Vec<Run>, Failure> {
    let [one, two, three] = members;
    let client = &one.machine;
    put(client, "beat@.service", SERVICE)?;
    put(client, "everywhere.service", &format!("{SERVICE}\n[X-Fleet]\nGlobal=true\n"))?;
    start_each(client, &[("beat@1", one), ("beat@2", two), ("beat@3", three)])?;
    client.succeed("fleetctl start everywhere")?;
    let mut runs = Vec::new();
    for (unit, member) in (1..).map(|number| format!("beat@{number}.service")).zip(members) {
        let units = [unit, "everywhere.service".to_owned()];
        runs.extend(heartbeats.wait(&units, &[&member.id], SOON)?);
    }
    Ok(runs)
}

/// Stops etcd everywhere for longer than a presence lives.
fn without_a_store(presence: Duration, members: &[Member<'_>]) -> Result<(), Failure> {
    let each = |command: &str| members.iter().try_for_each(|member| run(&member.machine, command));
    each("sudo systemctl stop --no-block etcd.service")?;
    let refused =
        "fleetctl list-machines 2>&1 | grep 'Error 503: fleet server unable to communicate with etcd'";
    for member in members {
        member.machine.wait_until_succeeds(refused, SOON)?;
    }
    // The next fleetd has the key of queries from /run/fleet.
    run(&members[0].machine, "sudo systemctl kill -s KILL fleet.service")?;
    // Not a wait: the length of the outage is what is tested. A third of a presence has passed before.
    std::thread::sleep(presence);
    each("sudo systemctl start --no-block etcd.service")?;
    for member in members {
        member.machine.wait_for_unit("etcd.service", FORMED)?;
    }
    // An empty key is in every line.
    each("! sudo journalctl --no-pager | grep -F \"$(etcdctl get /_coreos.com/fleet/fence/key)\"")
}

fn run(machine: &Machine<'_>, command: &str) -> Result<(), Failure> {
    machine.succeed(command)?;
    Ok(())
}
