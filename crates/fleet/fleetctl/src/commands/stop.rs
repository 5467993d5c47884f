//! `stop`: stops units and keeps them loaded.

use command_line::ParsedArgs;
use fleet_api::{JobState, Unit};

use crate::command::{Command, Run};
use crate::desired_state::{Replaced, StateChange, set_desired_state};
use crate::failure::Failure;
use crate::lookup::{existing_units, is_global};
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK};

pub const COMMAND: Command = Command {
    name: "stop",
    arguments: "UNIT...",
    summary: "stop units and keep them loaded on their machines",
    description: &[],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS],
    examples: &[("fleetctl stop hello.service", "start again with fleetctl start, on the same machine")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const CHANGE: StateChange =
    StateChange { verb: "stop", state: JobState::Loaded, error_prefix: "Error stopping units" };

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = existing_units(&registry, args).await?;
    let inactive = |unit: &Unit| !is_global(unit) && unit.current_state == JobState::Inactive.as_str();
    // Units before the first inactive one are stopped without waiting.
    let Some(at) = units.iter().position(inactive) else {
        return set_desired_state(&registry, args, CHANGE, &units, &Replaced::new()).await;
    };
    for unit in &units[..at] {
        if unit.desired_state == CHANGE.state.as_str() {
            continue;
        }
        let set = registry.set_desired(&unit.name, CHANGE.state.as_str()).await;
        set.map_err(|error| Failure::new(format!("{}: {error}", CHANGE.error_prefix)))?;
    }
    Err(Failure::new(format!("Unable to stop unit {} in state inactive", units[at].name)))
}
