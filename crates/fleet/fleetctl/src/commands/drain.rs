//! `drain`: cordons machines and moves their units to others.

use std::time::{Duration, Instant};

use command_line::ParsedArgs;
use fleet_api::additions::Cordon;
use fleet_api::{Machine, Unit};

use super::cordon::{machines_by_prefix, set_cordon};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::notices::Notices;
use crate::registry::Registry;
use crate::session::Session;
use crate::stdout::print;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK, WaitOptions};

const POLL_INTERVAL: Duration = Duration::from_millis(250);

pub const COMMAND: Command = Command {
    name: "drain",
    arguments: "MACHINE...",
    summary: "cordon machines and move their units to other machines",
    description: &[
        "Waits until all units have moved. Global units and units that fit no other machine stay, with a warning.",
        "Units with AllowOverlap=yes are started on their new machine before they are stopped on the old one.",
    ],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS],
    examples: &[("fleetctl drain 113f16a7", "prepare a machine for maintenance")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let machines = machines_by_prefix(&registry, args).await?;
    for machine in &machines {
        set_cordon(&registry, machine, Cordon::Draining, "drain").await?;
        if args.is_set(NO_BLOCK.name()) {
            print(&format!("Triggered machine {} drain\n", short_id(&machine.id, false)))?;
        }
    }
    if args.is_set(NO_BLOCK.name()) {
        return Ok(());
    }
    let end = WaitOptions::from_args(args).limit().map(|limit| Instant::now() + limit);
    for machine in &machines {
        wait_until_drained(&registry, machine, end).await?;
        print(&format!("Drained machine {}\n", short_id(&machine.id, false)))?;
    }
    Ok(())
}

/// Waits until the machine has no unit left that could run on another one.
async fn wait_until_drained(
    registry: &Registry,
    machine: &Machine,
    end: Option<Instant>,
) -> Result<(), Failure> {
    let mut notices = Notices::new();
    let id = short_id(&machine.id, false);
    loop {
        match registry.units().await {
            Err(error) => notices.report_unavailable(&error)?,
            Ok(units) => {
                notices.report_available();
                let (stuck, moving): (Vec<&Unit>, Vec<&Unit>) = units
                    .iter()
                    .filter(|unit| unit.machine_id == machine.id)
                    .partition(|unit| !unit.scheduling_message.is_empty());
                if moving.is_empty() {
                    for unit in stuck {
                        eprintln!("WARNING: Unit {} remains: {}", unit.name, unit.scheduling_message);
                    }
                    return Ok(());
                }
                let names: Vec<&str> = moving.iter().map(|unit| unit.name.as_str()).collect();
                let names = names.join(" ");
                if end.is_some_and(|end| Instant::now() >= end) {
                    let timed_out = format!("timed out waiting for it to lose {names}");
                    return Err(Failure::new(format!("Error waiting for machine {id}: {timed_out}")));
                }
                notices.report(&machine.id, &names, |_| format!("Waiting for machine {id} to lose {names}"));
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
