//! Machines that leave, return, or use the id of another machine.

use std::time::{Duration, Instant};

use super::super::super::kv::{FORMED, SOON};
use super::super::cluster::wait_for_machines;
use super::fixture::{Fixture, Row, machines};
use crate::failure::{Failure, expect};

/// Starts three conflicting units on three of the four machines.
fn start_conflicting(fixture: &Fixture<'_>) -> Result<Vec<Row>, Failure> {
    fixture.fleetctl("start conflict@1 conflict@2 conflict@3")?;
    let mut rows = fixture.active(3)?;
    rows.sort();
    expect(machines(&rows) == 3, "three machines", &format!("{rows:?}"))?;
    Ok(rows)
}

/// Returns a row of a machine other than the first, on which commands run.
fn remote_row<'r>(fixture: &Fixture<'_>, rows: &'r [Row]) -> Result<&'r Row, Failure> {
    let found = rows.iter().find(|row| row.machine != fixture.members[0].id);
    found.ok_or_else(|| Failure::Expected(format!("expected units on other machines; seen: {rows:?}")))
}

/// Waits until all three run, this one on another machine and the others unmoved.
fn wait_for_move(fixture: &Fixture<'_>, before: &[Row], moves: &Row) -> Result<(), Failure> {
    let has_moved = |rows: &Vec<Row>| {
        let moved: Vec<_> = rows.iter().filter(|row| !before.contains(row)).collect();
        rows.len() == 3
            && rows.iter().all(|row| row.active)
            && machines(rows) == 3
            && moved.len() == 1
            && moved.iter().all(|row| row.unit == moves.unit)
    };
    fixture.until(&format!("only {} to move", moves.unit), || fixture.rows(), has_moved)?;
    Ok(())
}

pub fn dynamic_cluster_new_member_unit_migration(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let before = start_conflicting(fixture)?;
    let moves = remote_row(fixture, &before)?;
    let stay = |processes: Vec<String>| {
        processes.into_iter().filter(|line| !line.contains(&moves.unit)).collect::<Vec<_>>()
    };
    let processes = stay(fixture.processes("conflict@*")?);
    fixture.member(&moves.machine)?.machine.succeed("sudo systemctl stop fleet.service")?;
    wait_for_move(fixture, &before, moves)?;
    let after = stay(fixture.processes("conflict@*")?);
    expect(
        processes.len() == 2 && processes == after,
        &format!("{processes:?} as before"),
        &format!("{after:?}"),
    )
}

pub fn dynamic_cluster_member_reboot(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let before = start_conflicting(fixture)?;
    let moves = remote_row(fixture, &before)?;
    let dies = fixture.member(&moves.machine)?;
    dies.machine.crash()?;
    let left: Vec<_> = fixture.members.iter().filter(|member| member.id != dies.id).collect();
    wait_for_machines(fixture.client(), &left)?;
    // If the dead machine led, its successor waits before it declares machines dead. A machine that returns earlier
    // keeps its unit, so this waits; the original's test replaces the machine.
    wait_for_move(fixture, &before, moves)?;
    fixture.start(dies)?;
    dies.machine.wait_for_unit("fleet.service", FORMED)?;
    wait_for_machines(fixture.client(), &fixture.members.iter().collect::<Vec<_>>())?;
    wait_for_move(fixture, &before, moves)
}

pub fn node_shutdown(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let leaves = &fixture.members[2];
    let unit = format!("on@{}.service", leaves.machine.name());
    fixture.fleetctl(&format!("start {unit}"))?;
    fixture.active(1)?;
    leaves.machine.succeed("sudo systemctl stop fleet.service")?;
    // Immediately: long before its keys would expire.
    let stopped = Instant::now();
    let left: Vec<_> = fixture.members.iter().filter(|member| member.id != leaves.id).collect();
    wait_for_machines(fixture.client(), &left)?;
    fixture.loaded(0)?;
    let took = stopped.elapsed();
    expect(took < fixture.ttl / 2, &format!("it gone in half of {:?}", fixture.ttl), &format!("{took:?}"))?;
    leaves.machine.fail(&format!("systemctl is-active {unit}"))?;
    let keys = fixture
        .run(&format!("etcdctl ls --recursive /_coreos.com/fleet/states | grep {} || true", leaves.id))?;
    expect(keys.is_empty(), "none of its states in the store", &keys)
}

const TWIN: &str = "/run/systemd/system/fleet.service.d/90-twin.conf";

/// The twin's fleetd finds the other machine's id in place of its own.
pub fn detect_machine_id(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let (one, double) = (&fixture.members[1], &fixture.members[3]);
    fixture.fleetctl(&format!("start on@{}", one.machine.name()))?;
    fixture.active(1)?;
    let processes = fixture.processes("on@*")?;
    let machine = &double.machine;
    machine.succeed("sudo systemctl stop fleet.service")?;
    machine.write("/run/twin", format!("{}\n", one.id).as_bytes())?;
    machine.succeed("sudo mkdir -p /run/systemd/system/fleet.service.d")?;
    machine.write(TWIN, b"[Service]\nBindReadOnlyPaths=/run/twin:/etc/machine-id\n")?;
    machine.succeed("sudo systemctl daemon-reload && sudo systemctl start --no-block fleet.service")?;
    let refused =
        "fleetctl list-machines 2>&1 | grep 'Error 503: fleet server unable to communicate with etcd'";
    machine.wait_until_succeeds(refused, SOON)?;

    // Longer than a presence lives: it keeps running while the other machine is registered.
    let main = "systemctl show --property=MainPID --value fleet.service";
    let before = machine.succeed(main)?;
    let until = Instant::now() + fixture.ttl * 2;
    while Instant::now() < until {
        machine.succeed(refused)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let after = machine.succeed(main)?;
    let up = before == after && before.trim() != "0";
    expect(up, "a fleetd that stays up", &format!("processes {before} and {after}"))?;

    machine.succeed(&format!("sudo rm {TWIN} && sudo systemctl daemon-reload"))?;
    machine.succeed("sudo systemctl restart fleet.service")?;
    for member in [one, double] {
        wait_for_machines(&member.machine, &fixture.members.iter().collect::<Vec<_>>())?;
    }
    let after = fixture.processes("on@*")?;
    expect(
        processes.len() == 1 && processes == after,
        "the unit undisturbed",
        &format!("{processes:?}, {after:?}"),
    )
}
