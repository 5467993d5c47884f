//! `destroy`: takes units off their machines, and forgets them.

use std::time::{Duration, Instant};

use command_line::ParsedArgs;
use fleet_api::Unit;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::lookup::known;
use crate::notices::Notices;
use crate::registry::Registry;
use crate::session::Session;
use crate::stdout::say;
use crate::wait::NO_BLOCK;

/// The command does not wait longer for machines that still run a unit; they stop it in their own time.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

pub const COMMAND: Command = Command {
    name: "destroy",
    arguments: "UNIT...",
    summary: "stop units and forget them",
    description: &["Waits until no machine has them any more, at most 10 seconds."],
    flags: &[NO_BLOCK],
    examples: &[("fleetctl destroy hello.service", "its file stays where it is")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = known(&registry, given).await?;
    let mut failures = Vec::new();
    let mut gone = Vec::new();
    for unit in &units {
        match registry.destroy(&unit.name).await {
            Ok(()) => {
                say(&format!("Destroyed {}\n", unit.name))?;
                gone.push(unit);
            }
            Err(error) => failures.push(format!("Error destroying units: {error}")),
        }
    }
    if !given.is_set(NO_BLOCK.name()) {
        wait(&registry, &gone).await;
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}

async fn wait(registry: &Registry, units: &[&Unit]) {
    let (end, mut notices) = (Instant::now() + PATIENCE, Notices::new());
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
                    notices.tell(name, &machines, |_| {
                        let limit = PATIENCE.as_secs();
                        format!("Waiting for unit {name} (for at most {limit} s): it is not stopped yet on {machines}")
                    });
                }
                Err(_) if Instant::now() >= end => return,
                Err(error) => {
                    if notices.no_answer(&error).is_err() {
                        eprintln!("WARNING: whether unit {name} is stopped is not known: {error}");
                        return;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
