//! `role add`: adds a role without permissions.

use command_line::ParsedArgs;
use etcd_client::Error;

use super::name::role;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "add",
    arguments: "<role>",
    summary: "add a role",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role add reader", "add a role without permissions")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let role = role(args)?;
    let client = session.client().await?;
    match client.role(role).await {
        Ok(_) => return Err(Failure::usage(format!("Role {role} already exists"))),
        Err(Error::Refused { status: 404, .. }) => {}
        Err(error) => return Err(Failure::plain(&error)),
    }
    client.add_role(role).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("Role {role} created\n"))
}
