//! `unload`: takes units off their machines.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::act::{Asked, Replaced, bring};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::known;
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, NO_BLOCK};

pub const COMMAND: Command = Command {
    name: "unload",
    arguments: "UNIT...",
    summary: "stop units and take them off their machines; they stay known",
    description: &[],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS],
    examples: &[("fleetctl unload hello.service", "waits until its machine has let go of it")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

const ASKED: Asked = Asked { verb: "unload", state: JobState::Inactive, failing: "Error unloading units" };

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = known(&registry, given).await?;
    bring(&registry, given, ASKED, &units, &Replaced::new()).await
}
