//! `drain`: moves the units of machines elsewhere.

use std::time::{Duration, Instant};

use command_line::ParsedArgs;
use fleet_api::additions::Cordon;
use fleet_api::{Machine, Unit};

use super::cordon::{named, set};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::notices::Notices;
use crate::registry::Registry;
use crate::session::Session;
use crate::stdout::say;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK, Patience};

const PAUSE: Duration = Duration::from_millis(250);

pub const COMMAND: Command = Command {
    name: "drain",
    arguments: "MACHINE...",
    summary: "give machines no new units, and move theirs elsewhere",
    description: &[
        "Waits until they have none any more; units that are global or can go nowhere else stay, and are named.",
        "Where a unit allows it (AllowOverlap=yes), the new one starts before the old one stops.",
    ],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS],
    examples: &[("fleetctl drain 113f16a7", "before it is repaired")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let machines = named(&registry, given).await?;
    for machine in &machines {
        set(&registry, machine, Cordon::Draining, "drain").await?;
        if given.is_set(NO_BLOCK.name()) {
            say(&format!("Triggered machine {} drain\n", short_id(&machine.id, false)))?;
        }
    }
    if given.is_set(NO_BLOCK.name()) {
        return Ok(());
    }
    let end = Patience::of(given).limit().map(|limit| Instant::now() + limit);
    for machine in &machines {
        empty(&registry, machine, end).await?;
        say(&format!("Drained machine {}\n", short_id(&machine.id, false)))?;
    }
    Ok(())
}

/// Waits until the machine has no unit any more that could be elsewhere.
async fn empty(registry: &Registry, machine: &Machine, end: Option<Instant>) -> Result<(), Failure> {
    let mut notices = Notices::new();
    let id = short_id(&machine.id, false);
    loop {
        match registry.units().await {
            // A server that does not answer for a moment is no reason to give up.
            Err(error) => notices.no_answer(&error)?,
            Ok(units) => {
                notices.answered();
                let (stuck, moving): (Vec<&Unit>, Vec<&Unit>) = units
                    .iter()
                    .filter(|unit| unit.machine_id == machine.id)
                    .partition(|unit| !unit.scheduling_message.is_empty());
                if moving.is_empty() {
                    for unit in stuck {
                        eprintln!("WARNING: Unit {} stays: {}", unit.name, unit.scheduling_message);
                    }
                    return Ok(());
                }
                let names: Vec<&str> = moving.iter().map(|unit| unit.name.as_str()).collect();
                let names = names.join(" ");
                if end.is_some_and(|end| Instant::now() >= end) {
                    let timed_out = format!("timed out waiting for it to lose {names}");
                    return Err(Failure::new(format!("Error waiting for machine {id}: {timed_out}")));
                }
                notices.tell(&machine.id, &names, |_| format!("Waiting for machine {id} to lose {names}"));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
