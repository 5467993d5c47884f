//! `submit`: creates units in the registry without scheduling them.

use command_line::ParsedArgs;
use fleet_api::JobState;

use crate::command::{Command, Run};
use crate::create::{self, REPLACE, SIGN, VERBOSE};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "submit",
    arguments: "UNIT...",
    summary: "upload units to the cluster without scheduling them",
    description: &[
        "Existing units are not changed, except for inactive units with --replace.",
        "Instances such as web@1.service are created from their template, web@.service.",
    ],
    flags: &[REPLACE, VERBOSE, SIGN],
    examples: &[
        ("fleetctl submit hello.service", "upload ./hello.service"),
        ("fleetctl submit web@{1..3}", "upload three instances of a template"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    create::create_units(&registry, args, JobState::Inactive).await.map(drop)
}
