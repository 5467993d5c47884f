//! `auth disable`: disables authentication.

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "disable",
    arguments: "",
    summary: "disable authentication",
    description: &[],
    flags: &[],
    examples: &[("etcdctl -u root auth disable", "keeps users and roles")],
    run: Run::Action(|session, _| Box::pin(run(session))),
};

async fn run(session: &Session) -> Result<(), Failure> {
    session.client().await?.disable_auth().await.map_err(|error| Failure::plain(&error))?;
    print("Authentication Disabled\n")
}
