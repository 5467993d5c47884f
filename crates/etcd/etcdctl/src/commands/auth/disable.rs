//! `auth disable`: everybody may do everything again.

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "disable",
    arguments: "",
    summary: "switch access control off",
    description: &[],
    flags: &[],
    examples: &[("etcdctl -u root auth disable", "users and roles are kept")],
    run: Run::Does(|session, _| Box::pin(run(session))),
};

async fn run(session: &Session) -> Result<(), Failure> {
    session.client().await?.disable_auth().await.map_err(|error| Failure::plain(&error))?;
    say("Authentication Disabled\n")
}
