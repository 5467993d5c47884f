//! `cordon`: marks machines as unschedulable.

use command_line::ParsedArgs;
use fleet_api::Machine;
use fleet_api::additions::Cordon;

use super::explain::request_failure;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::registry::Registry;
use crate::remote::machines;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "cordon",
    arguments: "MACHINE...",
    summary: "mark machines as unschedulable",
    description: &[
        "Units that are already on the machines keep running. MACHINE is a unique prefix of a machine id.",
    ],
    flags: &[],
    examples: &[("fleetctl cordon 113f16a7", "schedule no further units to this machine")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    for machine in machines_by_prefix(&registry, args).await? {
        set_cordon(&registry, &machine, Cordon::Cordoned, "cordon").await?;
        print(&format!("Cordoned machine {}\n", short_id(&machine.id, false)))?;
    }
    Ok(())
}

/// Resolves each argument, a prefix of a machine id, to the only machine that it matches.
pub async fn machines_by_prefix(registry: &Registry, args: &ParsedArgs) -> Result<Vec<Machine>, Failure> {
    if args.arguments.is_empty() {
        return Err(Failure::new("One machine must be provided"));
    }
    let all = machines(registry).await?;
    let find_machine = |prefix: &String| {
        let mut found = all.iter().filter(|machine| machine.id.starts_with(prefix.as_str()));
        match (found.next(), found.next()) {
            (Some(machine), None) if !prefix.is_empty() => Ok(machine.clone()),
            (Some(_), _) => Err(Failure::new(format!("{prefix:?}: found more than one machine"))),
            (None, _) => Err(Failure::new(format!("{prefix:?}: machine does not exist"))),
        }
    };
    args.arguments.iter().map(find_machine).collect()
}

pub async fn set_cordon(
    registry: &Registry,
    machine: &Machine,
    cordon: Cordon,
    verb: &str,
) -> Result<(), Failure> {
    registry.set_cordon(&machine.id, cordon).await.map_err(|error| request_failure(verb, error))
}
