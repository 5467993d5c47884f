//! `stop`: stops units where they are, and leaves them loaded.

use command_line::ParsedArgs;
use fleet_api::{JobState, Unit};

use crate::act::{Asked, Replaced, bring};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, known};
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK};

pub const COMMAND: Command = Command {
    name: "stop",
    arguments: "UNIT...",
    summary: "stop units, and leave them loaded on their machines",
    description: &[],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS],
    examples: &[("fleetctl stop hello.service", "fleetctl start brings it back on the same machine")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

const ASKED: Asked = Asked { verb: "stop", state: JobState::Loaded, failing: "Error stopping units" };

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = known(&registry, given).await?;
    let inactive = |unit: &Unit| !is_global(unit) && unit.current_state == JobState::Inactive.as_str();
    // What stands before the first that cannot be stopped is stopped, and not waited for.
    let Some(at) = units.iter().position(inactive) else {
        return bring(&registry, given, ASKED, &units, &Replaced::new()).await;
    };
    for unit in &units[..at] {
        if unit.desired_state == ASKED.state.as_str() {
            continue;
        }
        let set = registry.set_desired(&unit.name, ASKED.state.as_str()).await;
        set.map_err(|error| Failure::new(format!("{}: {error}", ASKED.failing)))?;
    }
    Err(Failure::new(format!("Unable to stop unit {} in state inactive", units[at].name)))
}
