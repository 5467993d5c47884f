//! `start`: schedules units and starts them on their machines.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::command::{Command, Run};
use crate::create::{self, REPLACE, SIGN, VERBOSE};
use crate::desired_state::{StateChange, set_desired_state};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK, WAIT_ACTIVE};

pub const COMMAND: Command = Command {
    name: "start",
    arguments: "UNIT...",
    summary: "schedule units and start them on their machines",
    description: &[
        "Units that do not exist yet are submitted first. Waits until the machines have started the units;",
        "with --wait-active, until systemd reports them as active.",
    ],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS, WAIT_ACTIVE, REPLACE, VERBOSE, SIGN],
    examples: &[
        ("fleetctl start hello.service", "wait until the unit is started"),
        ("fleetctl start --wait-active=60 web@1", "fail if the unit is not active within a minute"),
        ("fleetctl start --replace hello.service", "update the unit from the file and start it"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

// The prefix is the original's.
const CHANGE: StateChange =
    StateChange { verb: "start", state: JobState::Launched, error_prefix: "Error loading units" };

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let resolved = create::create_units(&registry, args, JobState::Launched).await?;
    set_desired_state(&registry, args, CHANGE, &resolved.units, &resolved.replaced).await
}
