//! `submit`: creates units in the registry without scheduling them.

use command_line::Given;
use fleet_api::JobState;

use crate::command::{Command, Run};
use crate::create::{self, REPLACE, SIGN, VERBOSE};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "submit",
    arguments: "UNIT...",
    summary: "make units known to the cluster, without a machine yet",
    description: &[
        "A unit that is known already stays as it is; --replace changes one that is inactive.",
        "An instance like web@1.service comes from its template, web@.service.",
    ],
    flags: &[REPLACE, VERBOSE, SIGN],
    examples: &[
        ("fleetctl submit hello.service", "from the file of that name"),
        ("fleetctl submit web@{1..3}", "the shell makes three of it"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &Given) -> Result<(), Failure> {
    let registry = session.registry().await?;
    create::create_units(&registry, args, JobState::Inactive).await.map(drop)
}
