//! `role grant`: grants permissions to a role.

use command_line::ParsedArgs;

use super::name::{FLAGS, permissions, role};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "grant",
    arguments: "<role>",
    summary: "grant permissions to a role",
    description: &[],
    flags: FLAGS,
    examples: &[("etcdctl role grant reader --path '/services/*' --read", "grant read access to a tree")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (role, permissions) = (role(args)?, permissions(args)?);
    let client = session.client().await?;
    client.grant_role(role, &permissions).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("Role {role} updated\n"))
}
