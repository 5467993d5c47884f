//! Machines that leave, return, or use the id of another machine.

use std::time::{Duration, Instant};

use super::super::super::kv::{FORMED, SOON};
use super::super::cluster::wait_for_machines;
use super::ground::{Ground, Row, machines};
use crate::failure::{Failure, expect};

/// Starts three conflicting units on three of the four machines.
fn three_apart(ground: &Ground<'_>) -> Result<Vec<Row>, Failure> {
    ground.fleetctl("start conflict@1 conflict@2 conflict@3")?;
    let mut rows = ground.active(3)?;
    rows.sort();
    expect(machines(&rows) == 3, "three machines", &format!("{rows:?}"))?;
    Ok(rows)
}

/// Returns a row of a machine other than the first, on which commands run.
fn with_a_unit<'r>(ground: &Ground<'_>, rows: &'r [Row]) -> Result<&'r Row, Failure> {
    let found = rows.iter().find(|row| row.machine != ground.members[0].id);
    found.ok_or_else(|| Failure::Expected(format!("expected units on other machines; seen: {rows:?}")))
}

/// Waits until all three run, this one on another machine and the others unmoved.
fn only_that_one_moves(ground: &Ground<'_>, before: &[Row], moves: &Row) -> Result<(), Failure> {
    let good = |rows: &Vec<Row>| {
        let moved: Vec<_> = rows.iter().filter(|row| !before.contains(row)).collect();
        rows.len() == 3
            && rows.iter().all(|row| row.active)
            && machines(rows) == 3
            && moved.len() == 1
            && moved.iter().all(|row| row.unit == moves.unit)
    };
    ground.until(&format!("only {} to move", moves.unit), || ground.rows(), good)?;
    Ok(())
}

pub fn dynamic_cluster_new_member_unit_migration(ground: &Ground<'_>) -> Result<(), Failure> {
    let before = three_apart(ground)?;
    let moves = with_a_unit(ground, &before)?;
    let stay = |processes: Vec<String>| {
        processes.into_iter().filter(|line| !line.contains(&moves.unit)).collect::<Vec<_>>()
    };
    let processes = stay(ground.processes("conflict@*")?);
    ground.member(&moves.machine)?.machine.succeed("sudo systemctl stop fleet.service")?;
    only_that_one_moves(ground, &before, moves)?;
    let after = stay(ground.processes("conflict@*")?);
    expect(
        processes.len() == 2 && processes == after,
        &format!("{processes:?} as before"),
        &format!("{after:?}"),
    )
}

pub fn dynamic_cluster_member_reboot(ground: &Ground<'_>) -> Result<(), Failure> {
    let before = three_apart(ground)?;
    let moves = with_a_unit(ground, &before)?;
    let dies = ground.member(&moves.machine)?;
    dies.machine.crash()?;
    let left: Vec<_> = ground.members.iter().filter(|member| member.id != dies.id).collect();
    wait_for_machines(ground.typed(), &left)?;
    // If the dead machine led, its successor waits before it declares machines dead. A machine that returns earlier
    // keeps its unit, so this waits; the original's test replaces the machine.
    only_that_one_moves(ground, &before, moves)?;
    ground.start(dies)?;
    dies.machine.wait_for_unit("fleet.service", FORMED)?;
    wait_for_machines(ground.typed(), &ground.members.iter().collect::<Vec<_>>())?;
    only_that_one_moves(ground, &before, moves)
}

pub fn node_shutdown(ground: &Ground<'_>) -> Result<(), Failure> {
    let leaves = &ground.members[2];
    let unit = format!("on@{}.service", leaves.machine.name());
    ground.fleetctl(&format!("start {unit}"))?;
    ground.active(1)?;
    leaves.machine.succeed("sudo systemctl stop fleet.service")?;
    // Immediately: long before its keys would expire.
    let stopped = Instant::now();
    let left: Vec<_> = ground.members.iter().filter(|member| member.id != leaves.id).collect();
    wait_for_machines(ground.typed(), &left)?;
    ground.loaded(0)?;
    let took = stopped.elapsed();
    expect(took < ground.ttl / 2, &format!("it gone in half of {:?}", ground.ttl), &format!("{took:?}"))?;
    leaves.machine.fail(&format!("systemctl is-active {unit}"))?;
    let keys = ground
        .says(&format!("etcdctl ls --recursive /_coreos.com/fleet/states | grep {} || true", leaves.id))?;
    expect(keys.is_empty(), "none of its states in the store", &keys)
}

const TWIN: &str = "/run/systemd/system/fleet.service.d/90-twin.conf";

/// The twin's fleetd finds the other machine's id in place of its own.
pub fn detect_machine_id(ground: &Ground<'_>) -> Result<(), Failure> {
    let (one, double) = (&ground.members[1], &ground.members[3]);
    ground.fleetctl(&format!("start on@{}", one.machine.name()))?;
    ground.active(1)?;
    let processes = ground.processes("on@*")?;
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
    let until = Instant::now() + ground.ttl * 2;
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
        wait_for_machines(&member.machine, &ground.members.iter().collect::<Vec<_>>())?;
    }
    let after = ground.processes("on@*")?;
    expect(
        processes.len() == 1 && processes == after,
        "the unit undisturbed",
        &format!("{processes:?}, {after:?}"),
    )
}
