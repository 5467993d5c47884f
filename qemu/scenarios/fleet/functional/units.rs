//! State changes of units by each command.

use super::super::super::kv::shows;
use super::ground::{Ground, SERVICE, UNITS};
use crate::failure::{Failure, expect};

/// `hello@1 hello@2 ...`
fn hellos(count: usize) -> String {
    (1..=count).map(|number| format!("hello@{number}")).collect::<Vec<_>>().join(" ")
}

pub fn unit_runnable(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.size(1)?;
    ground.fleetctl("start hello")?;
    let rows = ground.active(1)?;
    let there = rows.iter().all(|row| row.unit == "hello.service" && row.machine == ground.members[0].id);
    expect(there && ground.rows()?.len() == 1, "hello.service alone", &format!("{rows:?}"))
}

pub fn unit_submit(ground: &Ground<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        ground.fleetctl(&format!("submit {}", hellos(9)))?;
        ground.listed(9)?;
        ground.fleetctl(&format!("destroy {}", hellos(9)))?;
        ground.listed(0)?;
    }
    Ok(())
}

pub fn unit_load(ground: &Ground<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        ground.fleetctl(&format!("load {}", hellos(6)))?;
        let rows = ground.loaded(6)?;
        expect(rows.iter().all(|row| !row.active), "nothing to run", &format!("{rows:?}"))?;
        ground.fleetctl(&format!("unload {}", hellos(6)))?;
        ground.loaded(0)?;
        ground.listed(6)?;
    }
    Ok(())
}

pub fn unit_start(ground: &Ground<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        ground.fleetctl(&format!("start {}", hellos(3)))?;
        ground.active(3)?;
        ground.fleetctl(&format!("stop {}", hellos(3)))?;
        ground.active(0)?;
        ground.loaded(3)?;
    }
    Ok(())
}

pub fn unit_restart(ground: &Ground<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        ground.fleetctl(&format!("start {}", hellos(3)))?;
        ground.active(3)?;
        let before = ground.processes("hello@*")?;
        ground.fleetctl(&format!("restart {}", hellos(3)))?;
        ground.active(3)?;
        let after = ground.processes("hello@*")?;
        let others =
            before.len() == 3 && after.len() == 3 && after.iter().all(|process| !before.contains(process));
        expect(others, "three other processes", &format!("{before:?}, then {after:?}"))?;
        ground.fleetctl(&format!("stop {}", hellos(3)))?;
        ground.active(0)?;
    }
    Ok(())
}

pub fn unit_cat(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.fleetctl("submit hello")?;
    shows(ground.typed(), "fleetctl cat hello", SERVICE)?;
    shows(ground.typed(), &format!("fleetctl cat hello | cmp - {UNITS}/hello.service"), "")
}

pub fn list_unit_files_order(ground: &Ground<'_>) -> Result<(), Failure> {
    // Neither ascending nor descending: 7 and 20 are coprime.
    let numbers: Vec<_> = (1..=20).map(|step| format!("hello@{}", step * 7 % 20 + 1)).collect();
    ground.fleetctl(&format!("submit {}", numbers.join(" ")))?;
    let mut wanted: Vec<_> = numbers.iter().map(|name| format!("{name}.service")).collect();
    let listed = ground.listed(20)?;
    expect(listed != wanted, "another order than that in which they came", &listed.join(" "))?;
    wanted.sort();
    expect(listed == wanted, "them sorted by their names", &listed.join(" "))
}
