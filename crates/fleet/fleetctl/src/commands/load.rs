//! `load`: schedules units and loads them on their machines.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::command::{Command, Run};
use crate::create::{self, REPLACE, SIGN, VERBOSE};
use crate::desired_state::{StateChange, set_desired_state};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK};

pub const COMMAND: Command = Command {
    name: "load",
    arguments: "UNIT...",
    summary: "schedule units and load them on their machines, without starting them",
    description: &["Units that do not exist yet are submitted first. Running units are stopped."],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS, REPLACE, VERBOSE, SIGN],
    examples: &[("fleetctl load hello.service", "wait until the unit is loaded")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const CHANGE: StateChange =
    StateChange { verb: "load", state: JobState::Loaded, error_prefix: "Error loading units" };

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let resolved = create::create_units(&registry, args, JobState::Loaded).await?;
    set_desired_state(&registry, args, CHANGE, &resolved.units, &resolved.replaced).await
}
