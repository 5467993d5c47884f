//! Scheduling by the options of `[X-Fleet]`.

use std::collections::BTreeMap;

use super::fixture::{Fixture, Row, SERVICE, machines};
use crate::failure::{Failure, expect};

/// Maps each unit to its machine.
fn machines_by_unit(rows: &[Row]) -> BTreeMap<&str, &str> {
    rows.iter().map(|row| (row.unit.as_str(), row.machine.as_str())).collect()
}

pub fn schedule_machine_of(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.fleetctl("start ping@1 ping@2 ping@3 pong@1 pong@2 pong@3")?;
    let in_pairs = |rows: &[Row]| {
        let machines_by_unit = machines_by_unit(rows);
        (1..=3).all(|number| {
            machines_by_unit.get(&*format!("ping@{number}.service"))
                == machines_by_unit.get(&*format!("pong@{number}.service"))
        })
    };
    let before = fixture.active(6)?;
    let as_expected = in_pairs(&before) && machines(&before) == 3;
    expect(as_expected, "each pair on a machine of its own", &format!("{before:?}"))?;

    let leaves = &fixture.members[1];
    leaves.machine.succeed("sudo systemctl stop fleet.service")?;
    let observe = || fixture.rows();
    let as_expected = |rows: &Vec<Row>| {
        rows.len() == 6
            && rows.iter().all(|row| row.active && row.machine != leaves.id)
            && in_pairs(rows)
            && before.iter().filter(|row| row.machine != leaves.id).all(|row| rows.contains(row))
    };
    fixture.until("its pair elsewhere, and together; the others where they were", observe, as_expected)?;
    Ok(())
}

/// Waits until one unit runs on each machine and the others wait.
fn wait_for_spread(fixture: &Fixture<'_>, units: &[String]) -> Result<(), Failure> {
    fixture.fleetctl(&format!("start --no-block {}", units.join(" ")))?;
    fixture.listed(units.len())?;
    fixture.active(3)?;
    fixture.wait_for_reconciliation("other@1")?;
    let mut rows = fixture.active(4)?;
    rows.retain(|row| !row.unit.starts_with("other"));
    let as_expected = rows.len() == 3 && machines(&rows) == 3;
    expect(as_expected, "three on three machines", &format!("{rows:?}"))
}

pub fn schedule_conflicts(fixture: &Fixture<'_>) -> Result<(), Failure> {
    wait_for_spread(fixture, &(1..=5).map(|number| format!("conflict@{number}")).collect::<Vec<_>>())
}

/// One unit more than machines: three would be spread without any conflict.
pub fn schedule_multiple_conflicts(fixture: &Fixture<'_>) -> Result<(), Failure> {
    wait_for_spread(fixture, &(1..=4).map(|number| format!("apart-in-a-line@{number}")).collect::<Vec<_>>())?;
    fixture.clear()?;
    wait_for_spread(fixture, &(1..=4).map(|number| format!("apart-in-lines@{number}")).collect::<Vec<_>>())
}

pub fn schedule_one_way_conflict(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.size(1)?;
    fixture.fleetctl("start conflicts-with-hello")?;
    fixture.active(1)?;
    fixture.fleetctl("start --no-block hello")?;
    fixture.wait_for_reconciliation("other@1")?;
    let runs = |rows: &[Row], unit: &str| rows.iter().any(|row| row.unit == unit && row.active);
    let rows = fixture.rows()?;
    let waits =
        runs(&rows, "conflicts-with-hello.service") && rows.iter().all(|row| row.unit != "hello.service");
    expect(waits, "hello.service to wait", &format!("{rows:?}"))?;
    fixture.fleetctl("destroy conflicts-with-hello")?;
    fixture.until("hello.service in its place", || fixture.rows(), |rows| runs(rows, "hello.service"))?;
    Ok(())
}

/// Two machines: the second unit is the only one on its machine, and the third is scheduled next to the first by
/// the lower id.
pub fn schedule_replace(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.size(2)?;
    let mut ids: Vec<_> = fixture.members.iter().take(2).map(|member| member.id.as_str()).collect();
    ids.sort_unstable();
    for (unit, count) in [("replace.0", 1), ("other@1", 2)] {
        fixture.fleetctl(&format!("start {unit}"))?;
        fixture.active(count)?;
    }
    let before = fixture.rows()?;
    expect(
        machines_by_unit(&before).get("replace.0.service") == Some(&ids[0]),
        "it on the first",
        &format!("{before:?}"),
    )?;
    fixture.fleetctl("start replace-kick0")?;
    let expected =
        [("other@1.service", ids[1]), ("replace-kick0.service", ids[0]), ("replace.0.service", ids[1])];
    let as_expected = |rows: &Vec<Row>| {
        machines_by_unit(rows) == BTreeMap::from(expected)
            && rows.len() == 3
            && rows.iter().all(|row| row.active)
    };
    fixture.until("it in the other's place, and that one elsewhere", || fixture.rows(), as_expected)?;
    Ok(())
}

/// Units that replace each other keep running, as in the original's scheduler, whose test expects one of them
/// launched: neither replaces the other forever.
pub fn schedule_circular_replace(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.size(2)?;
    fixture.fleetctl("start circular@1")?;
    fixture.active(1)?;
    fixture.fleetctl("start other@1")?;
    // Scheduled next to the first one: both machines have one unit, and the lower id wins.
    fixture.fleetctl("start circular@2")?;
    fixture.listed(3)?;
    let mut before = fixture.active(3)?;
    before.retain(|row| row.unit != "other@1.service");
    expect(machines(&before) == 1, "both on one machine", &format!("{before:?}"))?;
    let processes = fixture.processes("circular@*")?;
    for number in 2..=3 {
        fixture.wait_for_reconciliation(&format!("other@{number}"))?;
    }
    let after = fixture.processes("circular@*")?;
    let same = processes.len() == 2 && processes == after;
    expect(same, "the same two processes", &format!("{processes:?}, then {after:?}"))
}

/// Against the order in which the scheduler chooses idle machines.
pub fn schedule_condition_machine_id(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let mut ids: Vec<_> = fixture.members.iter().map(|member| member.id.as_str()).collect();
    ids.sort_unstable();
    ids.reverse();
    let mut expected = BTreeMap::new();
    let names: Vec<_> = (1..=ids.len()).map(|number| format!("pinned-{number}.service")).collect();
    for (count, (name, id)) in (1..).zip(names.iter().zip(ids)) {
        fixture.write(name, &format!("{SERVICE}\n[X-Fleet]\nMachineID={id}\n"))?;
        fixture.fleetctl(&format!("start {name}"))?;
        expected.insert(name.as_str(), id);
        let rows = fixture.active(count)?;
        expect(machines_by_unit(&rows) == expected, &format!("{expected:?}"), &format!("{rows:?}"))?;
    }
    Ok(())
}

pub fn templates_with_specifiers_in_metadata(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let mut expected = BTreeMap::new();
    let names: Vec<_> =
        fixture.members.iter().map(|member| format!("on@{}.service", member.machine.name())).collect();
    for (name, member) in names.iter().zip(&fixture.members).rev() {
        fixture.fleetctl(&format!("start {name}"))?;
        expected.insert(name.as_str(), member.id.as_str());
    }
    let rows = fixture.active(names.len())?;
    expect(machines_by_unit(&rows) == expected, &format!("{expected:?}"), &format!("{rows:?}"))?;
    let started = "cd units && timeout 60 fleetctl start --block-attempts=20 on@invalid";
    let output = fixture.client().fail(started)?;
    let expected = "timed out waiting for unit on@invalid.service to report state launched";
    expect(output.contains(expected), expected, &output)
}

pub fn schedule_global_units(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.fleetctl("start hello@1 hello@2 everywhere@1")?;
    let mut rows = fixture.active(5)?;
    let before = fixture.processes("everywhere@*")?;
    rows.retain(|row| row.unit == "everywhere@1.service");
    expect(rows.len() == 3 && machines(&rows) == 3, "it on each machine", &format!("{rows:?}"))?;
    let status = fixture.fleetctl_by_ssh("status everywhere@1")?;
    expect(status.contains("Active: active"), "an active unit", &status)?;
    fixture.fleetctl_by_ssh("restart everywhere@1")?;
    fixture.active(5)?;
    let after = fixture.processes("everywhere@*")?;
    let others =
        before.len() == 3 && after.len() == 3 && after.iter().all(|process| !before.contains(process));
    expect(others, "three other processes", &format!("{before:?}, then {after:?}"))
}

pub fn schedule_global_conflicts(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.fleetctl("start everywhere@1")?;
    fixture.active(3)?;
    let before = fixture.processes("everywhere@*")?;
    fixture.fleetctl("start conflicts-with-everywhere")?;
    // All agents have reconciled once they run a unit that was started later.
    fixture.fleetctl("start everywhere@2")?;
    let observe = || fixture.rows();
    let all_run = |rows: &Vec<Row>| {
        rows.iter().filter(|row| row.unit == "everywhere@2.service" && row.active).count() == 3
    };
    let rows = fixture.until("everywhere@2 on three machines", observe, all_run)?;
    let after = fixture.processes("everywhere@1.service")?;
    let as_expected =
        rows.len() == 6 && rows.iter().all(|row| row.unit.starts_with("everywhere@")) && before == after;
    expect(as_expected, "the first one undisturbed, the second one nowhere", &format!("{rows:?}"))
}
