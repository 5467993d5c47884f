//! `load`: gives units a machine, and has them loaded there.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::act::{Asked, bring};
use crate::command::{Command, Run};
use crate::create::{self, REPLACE, SIGN, VERBOSE};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK};

pub const COMMAND: Command = Command {
    name: "load",
    arguments: "UNIT...",
    summary: "give units a machine and load them there, without starting them",
    description: &["A unit that is not known yet is submitted first. One that runs is stopped."],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS, REPLACE, VERBOSE, SIGN],
    examples: &[("fleetctl load hello.service", "waits until a machine has it")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

const ASKED: Asked = Asked { verb: "load", state: JobState::Loaded, failing: "Error loading units" };

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let known = create::all(&registry, given, JobState::Loaded).await?;
    bring(&registry, given, ASKED, &known.units, &known.replaced).await
}
