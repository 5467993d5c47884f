//! `user grant`: grants roles to a user.

use command_line::ParsedArgs;
use etcd_client::UserChange;

use super::name::{ROLES, roles, user};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "grant",
    arguments: "<user>",
    summary: "grant roles to a user",
    description: &[],
    flags: &[ROLES],
    examples: &[("etcdctl user grant web --roles reader,writer", "grant two roles")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (user, roles) = (user(args)?, roles(args)?);
    let change = UserChange::Grant(&roles);
    session.client().await?.change_user(user, &change).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("User {user} updated\n"))
}
