//! Replacing the stored content of an existing unit.

use super::super::super::kv::shows;
use super::ground::{Ground, SERVICE};
use crate::failure::Failure;

/// Runs the command twice, the second time with `--replace` and other files; `count` waits for the expected state.
fn replaced(
    ground: &Ground<'_>,
    command: &str,
    units: usize,
    count: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let names: Vec<_> = (1..=units).map(|number| format!("swap-{number}.service")).collect();
    for (text, words) in [(SERVICE.to_owned(), ""), (SERVICE.replace("one more", "another"), "--replace ")] {
        for name in &names {
            ground.write(name, &text)?;
        }
        ground.fleetctl(&format!("{command} {words}{}", names.join(" ")))?;
        ground.listed(units)?;
        count()?;
        for name in &names {
            shows(ground.typed(), &format!("fleetctl cat {name}"), &text)?;
        }
    }
    Ok(())
}

pub fn unit_submit_replace(ground: &Ground<'_>) -> Result<(), Failure> {
    replaced(ground, "submit", 9, || Ok(()))
}

pub fn unit_load_replace(ground: &Ground<'_>) -> Result<(), Failure> {
    replaced(ground, "load", 6, || ground.loaded(6).map(drop))
}

pub fn unit_start_replace(ground: &Ground<'_>) -> Result<(), Failure> {
    replaced(ground, "start", 3, || ground.active(3).map(drop))?;
    // The new content runs.
    let lines = ground.processes("swap-*")?;
    let each = "for pid in $(systemctl show --property=MainPID --value 'swap-*'); do tr '\\0' ' ' </proc/$pid/cmdline; done";
    let mut said = String::new();
    for member in &ground.members {
        said += &member.machine.succeed(each)?;
    }
    let new = said.matches("echo another second").count();
    crate::failure::expect(lines.len() == 3 && new == 3, "three processes of the new text", &said)
}
