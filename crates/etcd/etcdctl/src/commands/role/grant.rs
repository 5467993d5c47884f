//! `role grant`: what a role allows from now on.

use command_line::ParsedArgs;

use super::name::{FLAGS, permissions, role};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "grant",
    arguments: "<role>",
    summary: "allow a role to read or write keys",
    description: &[],
    flags: FLAGS,
    examples: &[("etcdctl role grant reader --path '/services/*' --read", "a tree")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (role, permissions) = (role(given)?, permissions(given)?);
    let client = session.client().await?;
    client.grant_role(role, &permissions).await.map_err(|error| Failure::plain(&error))?;
    say(&format!("Role {role} updated\n"))
}
