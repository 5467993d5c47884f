//! `uncordon`: marks machines as schedulable.

use command_line::ParsedArgs;
use fleet_api::additions::Cordon;

use super::cordon::{machines_by_prefix, set_cordon};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "uncordon",
    arguments: "MACHINE...",
    summary: "mark machines as schedulable",
    description: &["Reverts cordon and drain. Units are not moved back automatically: see rebalance."],
    flags: &[],
    examples: &[("fleetctl uncordon 113f16a7", "schedule units to this machine again")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    for machine in machines_by_prefix(&registry, args).await? {
        set_cordon(&registry, &machine, Cordon::Open, "uncordon").await?;
        print(&format!("Uncordoned machine {}\n", short_id(&machine.id, false)))?;
    }
    Ok(())
}
