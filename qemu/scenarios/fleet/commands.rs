//! The `fleetctl` commands of the tutorials, with their output.

use super::super::kv::{NODES, SOON, shows};
use super::cluster::{Member, bring_key, list_machines, put, three, wait_for_machines, with_agent};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};
use machines::cluster::BackendKind::Qemu;

pub const COMMANDS: Scenario = Scenario {
    name: "fleet",
    about: "machines with the tutorials' cloud-config are one cluster, and fleetctl does what the tutorials type",
    nodes: NODES,
    user_data: Some(super::TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: commands,
    ..USUAL
};

/// fleet's example unit, whose hash every tutorial shows.
pub(super) const HELLO: &str = "\
[Unit]
Description=Hello World

[Service]
ExecStart=/bin/bash -c \"while true; do echo \\\"Hello, world\\\"; sleep 1; done\"
";

/// Becomes ready when the test creates a file.
const SLOW: &str = "\
[Service]
ExecStartPre=/usr/bin/bash -c 'until test -e /run/go; do sleep 0.1; done'
ExecStart=/usr/bin/sleep infinity
";

pub(super) const NO_UNITS: &str = "UNIT\tMACHINE\tACTIVE\tSUB\n";

fn commands(stage: &Stage<'_>) -> Result<(), Failure> {
    typed(stage, &three(stage)?)
}

/// Runs on any three machines of one cluster without metadata and units.
pub(super) fn typed(stage: &Stage<'_>, members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    for member in members {
        shows(&member.machine, "fleetctl list-machines", &list_machines(members))?;
    }
    // The commands run on a machine that has none of the units: the result must not depend on the machine.
    let [first, second, typed] = members;
    put(&typed.machine, "hello.service", HELLO)?;
    put(&typed.machine, "slow.service", SLOW)?;
    submit_and_load(typed, first)?;
    start(typed, first)?;
    started_by_path(typed, second)?;
    log_in(stage, typed, members)?;
    looked_at(first, str::to_owned)?;
    looked_at(typed, with_agent)?;
    tunnel(typed, second, &list_machines(members))?;
    undone(typed, first)?;
    engine(members)
}

/// Rows C2 and C3. No machine has a unit yet: the scheduler chooses the lowest id.
fn submit_and_load(typed: &Member<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let (machine, place) = (&typed.machine, place.place());
    shows(machine, "fleetctl submit hello.service", "")?;
    let listed = "UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\te55c0ae\tinactive\tinactive\t-\n";
    shows(machine, "fleetctl list-unit-files", listed)?;
    shows(machine, "fleetctl list-units", NO_UNITS)?;
    shows(machine, "fleetctl load hello.service", &format!("Unit hello.service loaded on {place}\n"))?;
    let listed =
        format!("UNIT\t\tHASH\tDSTATE\tSTATE\tTARGET\nhello.service\te55c0ae\tloaded\tloaded\t{place}\n");
    shows(machine, "fleetctl list-unit-files", &listed)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\t\tSUB\nhello.service\t{place}\tinactive\tdead\n");
    shows(machine, "fleetctl list-units", &listed)
}

/// Row C4.
fn start(typed: &Member<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let (machine, place) = (&typed.machine, place.place());
    shows(machine, "fleetctl start hello.service", &format!("Unit hello.service launched on {place}\n"))?;
    machine.wait_until_succeeds("fleetctl list-units | grep -q running", SOON)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t{place}\tactive\trunning\n");
    shows(machine, "fleetctl list-units", &listed)
}

/// Row C4: starts a unit by path that was never submitted, on the machine without units; listed while it activates.
fn started_by_path(typed: &Member<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let there = format!("Unit slow.service launched on {}\n", place.place());
    shows(&typed.machine, "fleetctl start ./slow.service", &there)?;
    let row =
        |state: &str| format!("fleetctl list-units --no-legend | grep -xP 'slow.service\\t\\S+\\t{state}'");
    typed.machine.wait_until_succeeds(&row("activating\\tstart-pre"), SOON)?;
    place.machine.succeed("sudo touch /run/go")?;
    typed.machine.wait_until_succeeds(&row("active\\trunning"), SOON)?;
    Ok(())
}

/// Row C8.
fn log_in(stage: &Stage<'_>, typed: &Member<'_>, members: &[Member<'_>]) -> Result<(), Failure> {
    let machine = &typed.machine;
    let there = &members[0];
    let refused = machine.fail(&format!("fleetctl ssh {} true", there.short()))?;
    let first = refused.lines().next().unwrap_or_default();
    expect(first == "SSH_AUTH_SOCK environment variable must be set", "a word about the agent", &refused)?;

    bring_key(stage.site, machine)?;
    for member in members {
        let asked = with_agent(&format!("echo yes | fleetctl ssh {} hostname 2>&1", member.short()));
        let said = machine.succeed(&asked)?;
        let name = format!("{}\n", member.machine.name());
        let known = said.contains("Warning: Permanently added") && said.ends_with(&name);
        expect(known, "a question about the host key, and the host's name", &said)?;
    }
    let environment = there.machine.read("/etc/environment")?;
    for name in ["COREOS_PUBLIC_IPV4", "COREOS_PRIVATE_IPV4"] {
        let line = format!("{name}={}", there.address);
        expect(environment.lines().any(|has| has == line), &line, &environment)?;
    }
    let by_id = format!("fleetctl ssh {} cat /etc/environment", there.short());
    shows(machine, &with_agent(&by_id), &environment)?;
    let id = format!("{}\n", there.id);
    shows(machine, &with_agent("fleetctl ssh hello cat /etc/machine-id"), &id)?;
    // Arguments are not passed through a shell.
    shows(machine, &with_agent("echo cat /etc/machine-id | fleetctl ssh hello"), &id)
}

/// Rows C5 and C6, on this machine.
fn looked_at(member: &Member<'_>, way: fn(&str) -> String) -> Result<(), Failure> {
    let say = |command: &str| member.machine.succeed(&format!("timeout 60 {}", way(command)));
    let status = say("fleetctl status hello.service")?;
    for part in [
        "hello.service - Hello World\n",
        // The link precedes this; the tutorials' systemd printed its target too.
        "/hello.service; linked-runtime",
        "Active: active (running) since ",
        "/system.slice/hello.service\n",
        ": Hello, world\n",
    ] {
        expect(status.contains(part), &format!("a status with {part:?}"), &status)?;
    }
    let hello = |text: &str| text.lines().filter(|line| line.ends_with(": Hello, world")).count();
    let journal = say("fleetctl journal --lines 3 hello.service")?;
    expect(hello(&journal) == 3, "three lines of the journal", &journal)?;
    // The first line exists already, the others follow.
    let followed = say("fleetctl journal --lines 1 -f hello.service | grep -m 3 \"Hello, world\"")?;
    expect(hello(&followed) == 3, "further lines as they come", &followed)
}

/// Row C9.
fn tunnel(typed: &Member<'_>, by: &Member<'_>, machines: &str) -> Result<(), Failure> {
    let machine = &typed.machine;
    let flag = format!("fleetctl --tunnel {} list-machines", by.address);
    shows(machine, &with_agent(&flag), machines)?;
    let variable = "echo yes | FLEETCTL_TUNNEL=127.0.0.1:22 fleetctl list-machines 2>/dev/null";
    shows(machine, &with_agent(variable), machines)?;
    // A nested tunnel.
    let hop = format!("FLEETCTL_TUNNEL={} fleetctl ssh slow hostname", by.address);
    shows(machine, &with_agent(&hop), &format!("{}\n", by.machine.name()))
}

/// Row C7.
fn undone(typed: &Member<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let machine = &typed.machine;
    shows(machine, "fleetctl cat hello.service", HELLO)?;
    let stopped = format!("Unit hello.service loaded on {}\n", place.place());
    shows(machine, "fleetctl stop hello.service", &stopped)?;
    let row = "fleetctl list-units --no-legend | grep -P 'hello.service\\t\\S+\\tinactive\\tdead'";
    machine.wait_until_succeeds(row, SOON)?;
    place.machine.fail("systemctl is-active hello.service")?;
    shows(machine, "fleetctl unload hello.service", "Unit hello.service inactive\n")?;
    machine.fail("fleetctl list-units | grep hello")?;
    // The machine keeps no trace of it.
    place.machine.fail("systemctl cat hello.service || ls /run/fleet/units/hello.service")?;
    shows(
        machine,
        "fleetctl list-unit-files --no-legend --fields=unit,state | grep hello",
        "hello.service\tinactive\n",
    )?;
    shows(machine, "fleetctl destroy hello.service", "Destroyed hello.service\n")?;
    machine.fail("fleetctl list-unit-files | grep hello")?;
    Ok(())
}

/// Row C13: any machine can lead, and the registry's content decides.
fn engine(members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    let [one, _, _] = members;
    let lease = "etcdctl get /_coreos.com/fleet/lease/engine-leader | jq -r .MachineID";
    let id = one.machine.wait_until_succeeds(lease, SOON)?;
    let leader = members.iter().find(|member| member.id == id.trim());
    let leader = leader
        .ok_or_else(|| Failure::Expected(format!("expected a leader among the machines; seen: {id}")))?;
    let others: Vec<_> = members.iter().filter(|member| member.id != leader.id).collect();
    let [asked, _] = others[..] else { return Ok(()) };

    leader.machine.succeed("sudo systemctl stop fleet.service")?;
    shows(
        &leader.machine,
        "systemctl show --property=ActiveState,Result fleet.service",
        "Result=success\nActiveState=inactive\n",
    )?;
    // Its presence key is removed immediately, and its units move.
    wait_for_machines(&asked.machine, &others)?;
    let slow = "fleetctl list-units --full --no-legend --fields=unit,machine,active | grep active";
    asked.machine.succeed("sudo touch /run/go")?;
    others[1].machine.succeed("sudo touch /run/go")?;
    let placed = asked.machine.wait_until_succeeds(slow, SOON)?;
    expect(!placed.contains(&leader.id), "slow.service on a machine that is there", &placed)?;
    leader.machine.fail("systemctl is-active slow.service")?;
    let another = format!("id=$({lease}); echo $id; test -n \"$id\" -a \"$id\" != {}", leader.id);
    asked.machine.wait_until_succeeds(&another, SOON)?;
    put(&asked.machine, "hello.service", HELLO)?;
    asked.machine.succeed("fleetctl start hello.service")?;

    leader.machine.succeed("sudo systemctl start fleet.service")?;
    wait_for_machines(&leader.machine, &members.iter().collect::<Vec<_>>())?;
    // Desired state is a key: any client may write it.
    leader.machine.succeed("etcdctl set /_coreos.com/fleet/job/hello.service/target-state loaded")?;
    let row = "fleetctl list-units --no-legend | grep -P 'hello.service\\t\\S+\\tinactive\\tdead'";
    leader.machine.wait_until_succeeds(row, SOON)?;
    Ok(())
}
