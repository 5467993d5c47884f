//! `role remove`: a role that nobody needs any more.

use command_line::ParsedArgs;

use super::name::role;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "remove",
    arguments: "<role>",
    summary: "remove a role",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role remove reader", "revoke it from its users first")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let role = role(given)?;
    session.client().await?.remove_role(role).await.map_err(|error| Failure::plain(&error))?;
    say(&format!("Role {role} removed\n"))
}
