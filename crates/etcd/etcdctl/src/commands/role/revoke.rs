//! `role revoke`: revokes permissions from a role.

use command_line::ParsedArgs;

use super::name::{FLAGS, permissions, role};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "revoke",
    arguments: "<role>",
    summary: "revoke permissions from a role",
    description: &[],
    flags: FLAGS,
    examples: &[("etcdctl role revoke reader --path '/services/*' --read", "revoke read access to a tree")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (role, permissions) = (role(args)?, permissions(args)?);
    let client = session.client().await?;
    client.revoke_role(role, &permissions).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("Role {role} updated\n"))
}
