//! State changes of units by each command.

use super::super::super::kv::expect_output;
use super::fixture::{Fixture, SERVICE, UNITS};
use crate::failure::{Failure, expect};

/// `hello@1 hello@2 ...`
fn hellos(count: usize) -> String {
    (1..=count).map(|number| format!("hello@{number}")).collect::<Vec<_>>().join(" ")
}

pub fn unit_runnable(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.size(1)?;
    fixture.fleetctl("start hello")?;
    let rows = fixture.active(1)?;
    let in_place = rows.iter().all(|row| row.unit == "hello.service" && row.machine == fixture.members[0].id);
    expect(in_place && fixture.rows()?.len() == 1, "hello.service alone", &format!("{rows:?}"))
}

pub fn unit_submit(fixture: &Fixture<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        fixture.fleetctl(&format!("submit {}", hellos(9)))?;
        fixture.listed(9)?;
        fixture.fleetctl(&format!("destroy {}", hellos(9)))?;
        fixture.listed(0)?;
    }
    Ok(())
}

pub fn unit_load(fixture: &Fixture<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        fixture.fleetctl(&format!("load {}", hellos(6)))?;
        let rows = fixture.loaded(6)?;
        expect(rows.iter().all(|row| !row.active), "nothing to run", &format!("{rows:?}"))?;
        fixture.fleetctl(&format!("unload {}", hellos(6)))?;
        fixture.loaded(0)?;
        fixture.listed(6)?;
    }
    Ok(())
}

pub fn unit_start(fixture: &Fixture<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        fixture.fleetctl(&format!("start {}", hellos(3)))?;
        fixture.active(3)?;
        fixture.fleetctl(&format!("stop {}", hellos(3)))?;
        fixture.active(0)?;
        fixture.loaded(3)?;
    }
    Ok(())
}

pub fn unit_restart(fixture: &Fixture<'_>) -> Result<(), Failure> {
    for _ in 0..2 {
        fixture.fleetctl(&format!("start {}", hellos(3)))?;
        fixture.active(3)?;
        let before = fixture.processes("hello@*")?;
        fixture.fleetctl(&format!("restart {}", hellos(3)))?;
        fixture.active(3)?;
        let after = fixture.processes("hello@*")?;
        let others =
            before.len() == 3 && after.len() == 3 && after.iter().all(|process| !before.contains(process));
        expect(others, "three other processes", &format!("{before:?}, then {after:?}"))?;
        fixture.fleetctl(&format!("stop {}", hellos(3)))?;
        fixture.active(0)?;
    }
    Ok(())
}

pub fn unit_cat(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.fleetctl("submit hello")?;
    expect_output(fixture.client(), "fleetctl cat hello", SERVICE)?;
    expect_output(fixture.client(), &format!("fleetctl cat hello | cmp - {UNITS}/hello.service"), "")
}

pub fn list_unit_files_order(fixture: &Fixture<'_>) -> Result<(), Failure> {
    // Neither ascending nor descending: 7 and 20 are coprime.
    let numbers: Vec<_> = (1..=20).map(|step| format!("hello@{}", step * 7 % 20 + 1)).collect();
    fixture.fleetctl(&format!("submit {}", numbers.join(" ")))?;
    let mut expected: Vec<_> = numbers.iter().map(|name| format!("{name}.service")).collect();
    let listed = fixture.listed(20)?;
    expect(listed != expected, "another order than that in which they came", &listed.join(" "))?;
    expected.sort();
    expect(listed == expected, "them sorted by their names", &listed.join(" "))
}
