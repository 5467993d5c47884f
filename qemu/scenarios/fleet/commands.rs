//! The `fleetctl` commands of the tutorials, with their output.

use super::super::kv::{NODES, SOON, expect_output};
use super::cluster::{Member, copy_key, form_three, list_machines, put, wait_for_machines, with_agent};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use machines::cluster::BackendKind::Qemu;

pub const COMMANDS: Scenario = Scenario {
    name: "fleet",
    about: "machines with the tutorials' cloud-config are one cluster, and fleetctl does what the tutorials type",
    nodes: NODES,
    user_data: Some(super::TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: commands,
    ..DEFAULTS
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

fn commands(context: &Context<'_>) -> Result<(), Failure> {
    run_all(context, &form_three(context)?)
}

/// Runs on any three machines of one cluster without metadata and units.
pub(super) fn run_all(context: &Context<'_>, members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    for member in members {
        expect_output(&member.machine, "fleetctl list-machines", &list_machines(members))?;
    }
    // The commands run on a machine that has none of the units: the result must not depend on the machine.
    let [first, second, client] = members;
    put(&client.machine, "hello.service", HELLO)?;
    put(&client.machine, "slow.service", SLOW)?;
    submit_and_load(client, first)?;
    start(client, first)?;
    started_by_path(client, second)?;
    log_in(context, client, members)?;
    inspected(first, str::to_owned)?;
    inspected(client, with_agent)?;
    tunnel(client, second, &list_machines(members))?;
    stopped_and_destroyed(client, first)?;
    engine(members)
}

/// Rows C2 and C3. No machine has a unit yet: the scheduler chooses the lowest id.
fn submit_and_load(client: &Member<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let (machine, location) = (&client.machine, location.location());
    expect_output(machine, "fleetctl submit hello.service", "")?;
    let listed = "UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\te55c0ae\tinactive\tinactive\t-\n";
    expect_output(machine, "fleetctl list-unit-files", listed)?;
    expect_output(machine, "fleetctl list-units", NO_UNITS)?;
    expect_output(
        machine,
        "fleetctl load hello.service",
        &format!("Unit hello.service loaded on {location}\n"),
    )?;
    let listed =
        format!("UNIT\t\tHASH\tDSTATE\tSTATE\tTARGET\nhello.service\te55c0ae\tloaded\tloaded\t{location}\n");
    expect_output(machine, "fleetctl list-unit-files", &listed)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\t\tSUB\nhello.service\t{location}\tinactive\tdead\n");
    expect_output(machine, "fleetctl list-units", &listed)
}

/// Row C4.
fn start(client: &Member<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let (machine, location) = (&client.machine, location.location());
    expect_output(
        machine,
        "fleetctl start hello.service",
        &format!("Unit hello.service launched on {location}\n"),
    )?;
    machine.wait_until_succeeds("fleetctl list-units | grep -q running", SOON)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t{location}\tactive\trunning\n");
    expect_output(machine, "fleetctl list-units", &listed)
}

/// Row C4: starts a unit by path that was never submitted, on the machine without units; listed while it activates.
fn started_by_path(client: &Member<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let remote = format!("Unit slow.service launched on {}\n", location.location());
    expect_output(&client.machine, "fleetctl start ./slow.service", &remote)?;
    let row =
        |state: &str| format!("fleetctl list-units --no-legend | grep -xP 'slow.service\\t\\S+\\t{state}'");
    client.machine.wait_until_succeeds(&row("activating\\tstart-pre"), SOON)?;
    location.machine.succeed("sudo touch /run/go")?;
    client.machine.wait_until_succeeds(&row("active\\trunning"), SOON)?;
    Ok(())
}

/// Row C8.
fn log_in(context: &Context<'_>, client: &Member<'_>, members: &[Member<'_>]) -> Result<(), Failure> {
    let machine = &client.machine;
    let remote = &members[0];
    let refused = machine.fail(&format!("fleetctl ssh {} true", remote.short()))?;
    let first = refused.lines().next().unwrap_or_default();
    expect(first == "SSH_AUTH_SOCK environment variable must be set", "a word about the agent", &refused)?;

    copy_key(context.site, machine)?;
    for member in members {
        let other = with_agent(&format!("echo yes | fleetctl ssh {} hostname 2>&1", member.short()));
        let output = machine.succeed(&other)?;
        let name = format!("{}\n", member.machine.name());
        let known = output.contains("Warning: Permanently added") && output.ends_with(&name);
        expect(known, "a question about the host key, and the host's name", &output)?;
    }
    let environment = remote.machine.read("/etc/environment")?;
    for name in ["COREOS_PUBLIC_IPV4", "COREOS_PRIVATE_IPV4"] {
        let line = format!("{name}={}", remote.address);
        expect(environment.lines().any(|has| has == line), &line, &environment)?;
    }
    let by_id = format!("fleetctl ssh {} cat /etc/environment", remote.short());
    expect_output(machine, &with_agent(&by_id), &environment)?;
    let id = format!("{}\n", remote.id);
    expect_output(machine, &with_agent("fleetctl ssh hello cat /etc/machine-id"), &id)?;
    // Arguments are not passed through a shell.
    expect_output(machine, &with_agent("echo cat /etc/machine-id | fleetctl ssh hello"), &id)
}

/// Rows C5 and C6, on this machine.
fn inspected(member: &Member<'_>, wrap: fn(&str) -> String) -> Result<(), Failure> {
    let run = |command: &str| member.machine.succeed(&format!("timeout 60 {}", wrap(command)));
    let status = run("fleetctl status hello.service")?;
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
    let journal = run("fleetctl journal --lines 3 hello.service")?;
    expect(hello(&journal) == 3, "three lines of the journal", &journal)?;
    // The first line exists already, the others follow.
    let followed = run("fleetctl journal --lines 1 -f hello.service | grep -m 3 \"Hello, world\"")?;
    expect(hello(&followed) == 3, "further lines as they come", &followed)
}

/// Row C9.
fn tunnel(client: &Member<'_>, by: &Member<'_>, machines: &str) -> Result<(), Failure> {
    let machine = &client.machine;
    let flag = format!("fleetctl --tunnel {} list-machines", by.address);
    expect_output(machine, &with_agent(&flag), machines)?;
    let variable = "echo yes | FLEETCTL_TUNNEL=127.0.0.1:22 fleetctl list-machines 2>/dev/null";
    expect_output(machine, &with_agent(variable), machines)?;
    // A nested tunnel.
    let hop = format!("FLEETCTL_TUNNEL={} fleetctl ssh slow hostname", by.address);
    expect_output(machine, &with_agent(&hop), &format!("{}\n", by.machine.name()))
}

/// Row C7.
fn stopped_and_destroyed(client: &Member<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let machine = &client.machine;
    expect_output(machine, "fleetctl cat hello.service", HELLO)?;
    let stopped = format!("Unit hello.service loaded on {}\n", location.location());
    expect_output(machine, "fleetctl stop hello.service", &stopped)?;
    let row = "fleetctl list-units --no-legend | grep -P 'hello.service\\t\\S+\\tinactive\\tdead'";
    machine.wait_until_succeeds(row, SOON)?;
    location.machine.fail("systemctl is-active hello.service")?;
    expect_output(machine, "fleetctl unload hello.service", "Unit hello.service inactive\n")?;
    // The unit is inactive without a target; its row stays until the machine has removed the state (contract 1.2, 1.3).
    machine.wait_until_succeeds("fleetctl list-units >/tmp/units && ! grep hello /tmp/units", SOON)?;
    // The machine keeps no trace of it.
    location.machine.fail("systemctl cat hello.service || ls /run/fleet/units/hello.service")?;
    expect_output(
        machine,
        "fleetctl list-unit-files --no-legend --fields=unit,state | grep hello",
        "hello.service\tinactive\n",
    )?;
    expect_output(machine, "fleetctl destroy hello.service", "Destroyed hello.service\n")?;
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
    let [other, _] = others[..] else { return Ok(()) };

    leader.machine.succeed("sudo systemctl stop fleet.service")?;
    expect_output(
        &leader.machine,
        "systemctl show --property=ActiveState,Result fleet.service",
        "Result=success\nActiveState=inactive\n",
    )?;
    // Its presence key is removed immediately, and its units move.
    wait_for_machines(&other.machine, &others)?;
    let slow = "fleetctl list-units --full --no-legend --fields=unit,machine,active | grep active";
    other.machine.succeed("sudo touch /run/go")?;
    others[1].machine.succeed("sudo touch /run/go")?;
    let placed = other.machine.wait_until_succeeds(slow, SOON)?;
    expect(!placed.contains(&leader.id), "slow.service on a machine that is there", &placed)?;
    leader.machine.fail("systemctl is-active slow.service")?;
    let another = format!("id=$({lease}); echo $id; test -n \"$id\" -a \"$id\" != {}", leader.id);
    other.machine.wait_until_succeeds(&another, SOON)?;
    put(&other.machine, "hello.service", HELLO)?;
    other.machine.succeed("fleetctl start hello.service")?;

    leader.machine.succeed("sudo systemctl start fleet.service")?;
    wait_for_machines(&leader.machine, &members.iter().collect::<Vec<_>>())?;
    // Desired state is a key: any client may write it.
    leader.machine.succeed("etcdctl set /_coreos.com/fleet/job/hello.service/target-state loaded")?;
    let row = "fleetctl list-units --no-legend | grep -P 'hello.service\\t\\S+\\tinactive\\tdead'";
    leader.machine.wait_until_succeeds(row, SOON)?;
    Ok(())
}
