//! `role add`: a new role, which allows nothing yet.

use command_line::ParsedArgs;
use etcd_client::Error;

use super::name::role;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "add",
    arguments: "<role>",
    summary: "add a role",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role add reader", "allows nothing until something is granted")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let role = role(given)?;
    let client = session.client().await?;
    match client.role(role).await {
        Ok(_) => return Err(Failure::usage(format!("Role {role} already exists"))),
        Err(Error::Refused { status: 404, .. }) => {}
        Err(error) => return Err(Failure::plain(&error)),
    }
    client.add_role(role).await.map_err(|error| Failure::plain(&error))?;
    say(&format!("Role {role} created\n"))
}
