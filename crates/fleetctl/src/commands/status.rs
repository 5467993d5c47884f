//! `status`: what systemctl says of units, on the machines that have them.

use command_line::Given;
use fleet_api::Unit;

use crate::access::has_keys;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, names, unit};
use crate::registry::Registry;
use crate::remote::{SSH_PORT, ended, is_here, run as run_there};
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "status",
    arguments: "UNIT...",
    summary: "show what systemctl says of units, wherever they are",
    description: &[
        "Of a global unit: on every machine that has it. Ends with systemctl's exit code, 3 for inactive.",
        "Where there is no SSH key to use, the machines are asked through the API.",
    ],
    flags: &[SSH_PORT],
    examples: &[("fleetctl status hello.service", "with the last lines of its journal")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &Given) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let mut first = true;
    for name in names(given) {
        let Some(unit) = unit(&registry, &name).await? else {
            return Err(Failure::new(format!("Unit {name} does not exist.")));
        };
        for machine in machines_of(&registry, &unit).await? {
            if !first {
                say("\n")?;
            }
            first = false;
            ended(show(session, &registry, given, &name, &machine).await?)?;
        }
    }
    Ok(())
}

async fn machines_of(registry: &Registry, unit: &Unit) -> Result<Vec<String>, Failure> {
    let name = &unit.name;
    let nowhere = || Failure::new(format!("Unit {name} does not appear to be loaded."));
    if !is_global(unit) {
        let there = unit.current_state != "inactive" && !unit.machine_id.is_empty();
        return if there { Ok(vec![unit.machine_id.clone()]) } else { Err(nowhere()) };
    }
    let states = registry.states_of(name).await;
    let states =
        states.map_err(|error| Failure::new(format!("Error retrieving states of unit {name}: {error}")))?;
    if states.is_empty() {
        return Err(nowhere());
    }
    Ok(states.into_iter().map(|state| state.machine_id).collect())
}

async fn show(
    session: &Session,
    registry: &Registry,
    given: &Given,
    name: &str,
    machine: &str,
) -> Result<u8, Failure> {
    if !is_here(machine)
        && !has_keys(&session.global.ssh)
        && let Ok(report) = registry.status(name, machine).await
        && let Some(status) = report.statuses.first()
    {
        say(&status.output)?;
        return Ok(status.exit_code);
    }
    run_there(session, registry, given, machine, &["systemctl", "status", "-l", name]).await
}
