//! `role remove`: removes a role.

use command_line::ParsedArgs;

use super::name::role;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "remove",
    arguments: "<role>",
    summary: "remove a role",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role remove reader", "revoke it from all users first")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let role = role(args)?;
    session.client().await?.remove_role(role).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("Role {role} removed\n"))
}
