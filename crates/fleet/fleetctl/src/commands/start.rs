//! `start`: gives units a machine, and has them started there.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::act::{Asked, bring};
use crate::command::{Command, Run};
use crate::create::{self, REPLACE, SIGN, VERBOSE};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK, WAIT_ACTIVE};

pub const COMMAND: Command = Command {
    name: "start",
    arguments: "UNIT...",
    summary: "start units somewhere in the cluster",
    description: &[
        "A unit that is not known yet is submitted first. Returns when each machine was told to start its units;",
        "with --wait-active, when systemd says that they are active.",
    ],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS, WAIT_ACTIVE, REPLACE, VERBOSE, SIGN],
    examples: &[
        ("fleetctl start hello.service", "waits until a machine starts it"),
        ("fleetctl start --wait-active=60 web@1", "fails where it is not active after a minute"),
        ("fleetctl start --replace hello.service", "with the text that the file has now"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

// Starting was once done by loading: its errors say so.
const ASKED: Asked = Asked { verb: "start", state: JobState::Launched, failing: "Error loading units" };

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let known = create::all(&registry, given, JobState::Launched).await?;
    bring(&registry, given, ASKED, &known.units, &known.replaced).await
}
