//! `destroy`: stops units and deletes them from the registry.

use std::time::{Duration, Instant};

use command_line::ParsedArgs;
use fleet_api::Unit;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::lookup::existing_units;
use crate::notices::Notices;
use crate::registry::Registry;
use crate::session::Session;
use crate::stdout::print;
use crate::wait::NO_BLOCK;

/// Limit of the wait for machines that still run a unit.
const TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub const COMMAND: Command = Command {
    name: "destroy",
    arguments: "UNIT...",
    summary: "stop units and delete them from the cluster",
    description: &["Waits up to 10 seconds until the units are stopped on all machines."],
    flags: &[NO_BLOCK],
    examples: &[("fleetctl destroy hello.service", "keeps the local file")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = existing_units(&registry, args).await?;
    let mut failures = Vec::new();
    let mut destroyed = Vec::new();
    for unit in &units {
        match registry.destroy(&unit.name).await {
            Ok(()) => {
                print(&format!("Destroyed {}\n", unit.name))?;
                destroyed.push(unit);
            }
            Err(error) => failures.push(format!("Error destroying units: {error}")),
        }
    }
    if !args.is_set(NO_BLOCK.name()) {
        wait_until_stopped(&registry, &destroyed).await;
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}

async fn wait_until_stopped(registry: &Registry, units: &[&Unit]) {
    let (end, mut notices) = (Instant::now() + TIMEOUT, Notices::new());
    for Unit { name, .. } in units {
        loop {
            match registry.states_of(name).await {
                Ok(states) if states.is_empty() => break,
                Ok(states) => {
                    let machines: Vec<_> =
                        states.iter().map(|state| short_id(&state.machine_id, false)).collect();
                    let machines = machines.join(" ");
                    if Instant::now() >= end {
                        eprintln!("WARNING: Unit {name} is not stopped yet on {machines}");
                        break;
                    }
                    notices.report(name, &machines, |_| {
                        let limit = TIMEOUT.as_secs();
                        format!("Waiting for unit {name} (for at most {limit} s): it is not stopped yet on {machines}")
                    });
                }
                Err(_) if Instant::now() >= end => return,
                Err(error) => {
                    if notices.report_unavailable(&error).is_err() {
                        eprintln!("WARNING: whether unit {name} is stopped is not known: {error}");
                        return;
                    }
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
