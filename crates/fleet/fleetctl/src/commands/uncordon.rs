//! `uncordon`: gives machines units again.

use command_line::ParsedArgs;
use fleet_api::additions::Cordon;

use super::cordon::{named, set};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "uncordon",
    arguments: "MACHINE...",
    summary: "let machines have new units again, after cordon or drain",
    description: &["Nothing moves back by itself: see rebalance."],
    flags: &[],
    examples: &[("fleetctl uncordon 113f16a7", "it is back")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    for machine in named(&registry, given).await? {
        set(&registry, &machine, Cordon::Open, "uncordon").await?;
        say(&format!("Uncordoned machine {}\n", short_id(&machine.id, false)))?;
    }
    Ok(())
}
