//! Scheduling by the options of `[X-Fleet]`.

use std::collections::BTreeMap;

use super::ground::{Ground, Row, SERVICE, machines};
use crate::failure::{Failure, expect};

/// Maps each unit to its machine.
fn places(rows: &[Row]) -> BTreeMap<&str, &str> {
    rows.iter().map(|row| (row.unit.as_str(), row.machine.as_str())).collect()
}

pub fn schedule_machine_of(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.fleetctl("start ping@1 ping@2 ping@3 pong@1 pong@2 pong@3")?;
    let in_pairs = |rows: &[Row]| {
        let places = places(rows);
        (1..=3).all(|number| {
            places.get(&*format!("ping@{number}.service")) == places.get(&*format!("pong@{number}.service"))
        })
    };
    let before = ground.active(6)?;
    let good = in_pairs(&before) && machines(&before) == 3;
    expect(good, "each pair on a machine of its own", &format!("{before:?}"))?;

    let leaves = &ground.members[1];
    leaves.machine.succeed("sudo systemctl stop fleet.service")?;
    let look = || ground.rows();
    let good = |rows: &Vec<Row>| {
        rows.len() == 6
            && rows.iter().all(|row| row.active && row.machine != leaves.id)
            && in_pairs(rows)
            && before.iter().filter(|row| row.machine != leaves.id).all(|row| rows.contains(row))
    };
    ground.until("its pair elsewhere, and together; the others where they were", look, good)?;
    Ok(())
}

/// Waits until one unit runs on each machine and the others wait.
fn apart(ground: &Ground<'_>, units: &[String]) -> Result<(), Failure> {
    ground.fleetctl(&format!("start --no-block {}", units.join(" ")))?;
    ground.listed(units.len())?;
    ground.active(3)?;
    ground.engine_has_looked("other@1")?;
    let mut rows = ground.active(4)?;
    rows.retain(|row| !row.unit.starts_with("other"));
    let good = rows.len() == 3 && machines(&rows) == 3;
    expect(good, "three on three machines", &format!("{rows:?}"))
}

pub fn schedule_conflicts(ground: &Ground<'_>) -> Result<(), Failure> {
    apart(ground, &(1..=5).map(|number| format!("conflict@{number}")).collect::<Vec<_>>())
}

/// One unit more than machines: three would be spread without any conflict.
pub fn schedule_multiple_conflicts(ground: &Ground<'_>) -> Result<(), Failure> {
    apart(ground, &(1..=4).map(|number| format!("apart-in-a-line@{number}")).collect::<Vec<_>>())?;
    ground.clear()?;
    apart(ground, &(1..=4).map(|number| format!("apart-in-lines@{number}")).collect::<Vec<_>>())
}

pub fn schedule_one_way_conflict(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.size(1)?;
    ground.fleetctl("start conflicts-with-hello")?;
    ground.active(1)?;
    ground.fleetctl("start --no-block hello")?;
    ground.engine_has_looked("other@1")?;
    let runs = |rows: &[Row], unit: &str| rows.iter().any(|row| row.unit == unit && row.active);
    let rows = ground.rows()?;
    let waits =
        runs(&rows, "conflicts-with-hello.service") && rows.iter().all(|row| row.unit != "hello.service");
    expect(waits, "hello.service to wait", &format!("{rows:?}"))?;
    ground.fleetctl("destroy conflicts-with-hello")?;
    ground.until("hello.service in its place", || ground.rows(), |rows| runs(rows, "hello.service"))?;
    Ok(())
}

/// Two machines: the second unit is the only one on its machine, and the third is scheduled next to the first by
/// the lower id.
pub fn schedule_replace(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.size(2)?;
    let mut ids: Vec<_> = ground.members.iter().take(2).map(|member| member.id.as_str()).collect();
    ids.sort_unstable();
    for (unit, count) in [("replace.0", 1), ("other@1", 2)] {
        ground.fleetctl(&format!("start {unit}"))?;
        ground.active(count)?;
    }
    let before = ground.rows()?;
    expect(
        places(&before).get("replace.0.service") == Some(&ids[0]),
        "it on the first",
        &format!("{before:?}"),
    )?;
    ground.fleetctl("start replace-kick0")?;
    let wanted =
        [("other@1.service", ids[1]), ("replace-kick0.service", ids[0]), ("replace.0.service", ids[1])];
    let good = |rows: &Vec<Row>| {
        places(rows) == BTreeMap::from(wanted) && rows.len() == 3 && rows.iter().all(|row| row.active)
    };
    ground.until("it in the other's place, and that one elsewhere", || ground.rows(), good)?;
    Ok(())
}

/// Units that replace each other keep running, as in the original's scheduler, whose test expects one of them
/// launched: neither replaces the other forever.
pub fn schedule_circular_replace(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.size(2)?;
    ground.fleetctl("start circular@1")?;
    ground.active(1)?;
    ground.fleetctl("start other@1")?;
    // Scheduled next to the first one: both machines have one unit, and the lower id wins.
    ground.fleetctl("start circular@2")?;
    ground.listed(3)?;
    let mut before = ground.active(3)?;
    before.retain(|row| row.unit != "other@1.service");
    expect(machines(&before) == 1, "both on one machine", &format!("{before:?}"))?;
    let processes = ground.processes("circular@*")?;
    for number in 2..=3 {
        ground.engine_has_looked(&format!("other@{number}"))?;
    }
    let after = ground.processes("circular@*")?;
    let same = processes.len() == 2 && processes == after;
    expect(same, "the same two processes", &format!("{processes:?}, then {after:?}"))
}

/// Against the order in which the scheduler chooses idle machines.
pub fn schedule_condition_machine_id(ground: &Ground<'_>) -> Result<(), Failure> {
    let mut ids: Vec<_> = ground.members.iter().map(|member| member.id.as_str()).collect();
    ids.sort_unstable();
    ids.reverse();
    let mut wanted = BTreeMap::new();
    let names: Vec<_> = (1..=ids.len()).map(|number| format!("pinned-{number}.service")).collect();
    for (count, (name, id)) in (1..).zip(names.iter().zip(ids)) {
        ground.write(name, &format!("{SERVICE}\n[X-Fleet]\nMachineID={id}\n"))?;
        ground.fleetctl(&format!("start {name}"))?;
        wanted.insert(name.as_str(), id);
        let rows = ground.active(count)?;
        expect(places(&rows) == wanted, &format!("{wanted:?}"), &format!("{rows:?}"))?;
    }
    Ok(())
}

pub fn templates_with_specifiers_in_metadata(ground: &Ground<'_>) -> Result<(), Failure> {
    let mut wanted = BTreeMap::new();
    let names: Vec<_> =
        ground.members.iter().map(|member| format!("on@{}.service", member.machine.name())).collect();
    for (name, member) in names.iter().zip(&ground.members).rev() {
        ground.fleetctl(&format!("start {name}"))?;
        wanted.insert(name.as_str(), member.id.as_str());
    }
    let rows = ground.active(names.len())?;
    expect(places(&rows) == wanted, &format!("{wanted:?}"), &format!("{rows:?}"))?;
    let started = "cd units && timeout 60 fleetctl start --block-attempts=20 on@invalid";
    let said = ground.typed().fail(started)?;
    let wanted = "timed out waiting for unit on@invalid.service to report state launched";
    expect(said.contains(wanted), wanted, &said)
}

pub fn schedule_global_units(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.fleetctl("start hello@1 hello@2 everywhere@1")?;
    let mut rows = ground.active(5)?;
    let before = ground.processes("everywhere@*")?;
    rows.retain(|row| row.unit == "everywhere@1.service");
    expect(rows.len() == 3 && machines(&rows) == 3, "it on each machine", &format!("{rows:?}"))?;
    let status = ground.fleetctl_by_ssh("status everywhere@1")?;
    expect(status.contains("Active: active"), "an active unit", &status)?;
    ground.fleetctl_by_ssh("restart everywhere@1")?;
    ground.active(5)?;
    let after = ground.processes("everywhere@*")?;
    let others =
        before.len() == 3 && after.len() == 3 && after.iter().all(|process| !before.contains(process));
    expect(others, "three other processes", &format!("{before:?}, then {after:?}"))
}

pub fn schedule_global_conflicts(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.fleetctl("start everywhere@1")?;
    ground.active(3)?;
    let before = ground.processes("everywhere@*")?;
    ground.fleetctl("start conflicts-with-everywhere")?;
    // All agents have reconciled once they run a unit that was started later.
    ground.fleetctl("start everywhere@2")?;
    let look = || ground.rows();
    let there = |rows: &Vec<Row>| {
        rows.iter().filter(|row| row.unit == "everywhere@2.service" && row.active).count() == 3
    };
    let rows = ground.until("everywhere@2 on three machines", look, there)?;
    let after = ground.processes("everywhere@1.service")?;
    let good =
        rows.len() == 6 && rows.iter().all(|row| row.unit.starts_with("everywhere@")) && before == after;
    expect(good, "the first one undisturbed, the second one nowhere", &format!("{rows:?}"))
}
