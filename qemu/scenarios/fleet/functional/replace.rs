//! Replacing the stored content of an existing unit.

use super::super::super::kv::expect_output;
use super::fixture::{Fixture, SERVICE};
use crate::failure::Failure;

/// Runs the command twice, the second time with `--replace` and other files; `count` waits for the expected state.
fn replaced(
    fixture: &Fixture<'_>,
    command: &str,
    units: usize,
    count: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let names: Vec<_> = (1..=units).map(|number| format!("swap-{number}.service")).collect();
    for (text, flag) in [(SERVICE.to_owned(), ""), (SERVICE.replace("one more", "another"), "--replace ")] {
        for name in &names {
            fixture.write(name, &text)?;
        }
        fixture.fleetctl(&format!("{command} {flag}{}", names.join(" ")))?;
        fixture.listed(units)?;
        count()?;
        for name in &names {
            expect_output(fixture.client(), &format!("fleetctl cat {name}"), &text)?;
        }
    }
    Ok(())
}

pub fn unit_submit_replace(fixture: &Fixture<'_>) -> Result<(), Failure> {
    replaced(fixture, "submit", 9, || Ok(()))
}

pub fn unit_load_replace(fixture: &Fixture<'_>) -> Result<(), Failure> {
    replaced(fixture, "load", 6, || fixture.loaded(6).map(drop))
}

pub fn unit_start_replace(fixture: &Fixture<'_>) -> Result<(), Failure> {
    replaced(fixture, "start", 3, || fixture.active(3).map(drop))?;
    // The new content runs.
    let lines = fixture.processes("swap-*")?;
    let each = "for pid in $(systemctl show --property=MainPID --value 'swap-*'); do tr '\\0' ' ' </proc/$pid/cmdline; done";
    let mut output = String::new();
    for member in &fixture.members {
        output += &member.machine.succeed(each)?;
    }
    let new = output.matches("echo another second").count();
    crate::failure::expect(lines.len() == 3 && new == 3, "three processes of the new text", &output)
}
