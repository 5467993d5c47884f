//! `cordon`: keeps new units away from machines.

use command_line::ParsedArgs;
use fleet_api::Machine;
use fleet_api::additions::Cordon;

use super::explain::failed;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::registry::Registry;
use crate::remote::machines;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "cordon",
    arguments: "MACHINE...",
    summary: "give machines no new units",
    description: &["What they have stays. MACHINE is the beginning of a machine's id."],
    flags: &[],
    examples: &[("fleetctl cordon 113f16a7", "until fleetctl uncordon")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    for machine in named(&registry, given).await? {
        set(&registry, &machine, Cordon::Cordoned, "cordon").await?;
        say(&format!("Cordoned machine {}\n", short_id(&machine.id, false)))?;
    }
    Ok(())
}

/// The machines whose ids the arguments begin, each meant without doubt.
pub async fn named(registry: &Registry, given: &ParsedArgs) -> Result<Vec<Machine>, Failure> {
    if given.arguments.is_empty() {
        return Err(Failure::new("One machine must be provided"));
    }
    let all = machines(registry).await?;
    let one = |prefix: &String| {
        let mut found = all.iter().filter(|machine| machine.id.starts_with(prefix.as_str()));
        match (found.next(), found.next()) {
            (Some(one), None) if !prefix.is_empty() => Ok(one.clone()),
            (Some(_), _) => Err(Failure::new(format!("{prefix:?}: found more than one machine"))),
            (None, _) => Err(Failure::new(format!("{prefix:?}: machine does not exist"))),
        }
    };
    given.arguments.iter().map(one).collect()
}

pub async fn set(registry: &Registry, machine: &Machine, cordon: Cordon, verb: &str) -> Result<(), Failure> {
    registry.set_cordon(&machine.id, cordon).await.map_err(|error| failed(verb, error))
}
