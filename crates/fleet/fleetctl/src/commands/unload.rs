//! `unload`: stops units and unloads them from their machines.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::command::{Command, Run};
use crate::desired_state::{Replaced, StateChange, set_desired_state};
use crate::failure::Failure;
use crate::lookup::existing_units;
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK};

pub const COMMAND: Command = Command {
    name: "unload",
    arguments: "UNIT...",
    summary: "stop units and unload them from their machines",
    description: &["The units remain in the cluster as inactive, without a target machine."],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS],
    examples: &[("fleetctl unload hello.service", "wait until the unit is stopped")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const CHANGE: StateChange =
    StateChange { verb: "unload", state: JobState::Inactive, error_prefix: "Error unloading units" };

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = existing_units(&registry, args).await?;
    set_desired_state(&registry, args, CHANGE, &units, &Replaced::new()).await
}
