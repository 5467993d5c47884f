//! `auth enable`: enables authentication. Requests without a user then have the permissions of the role `guest`.

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "enable",
    arguments: "",
    summary: "enable authentication",
    description: &[
        "Requires a user named root. Requests without a user then have the permissions of the role guest.",
    ],
    flags: &[],
    examples: &[("etcdctl auth enable", "requires `etcdctl user add root`")],
    run: Run::Action(|session, _| Box::pin(run(session))),
};

async fn run(session: &Session) -> Result<(), Failure> {
    session.client().await?.enable_auth().await.map_err(|error| Failure::plain(&error))?;
    print("Authentication Enabled\n")
}
