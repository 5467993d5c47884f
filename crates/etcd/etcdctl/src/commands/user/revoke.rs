//! `user revoke`: revokes roles from a user.

use command_line::ParsedArgs;
use etcd_client::UserChange;

use super::name::{ROLES, roles, user};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "revoke",
    arguments: "<user>",
    summary: "revoke roles from a user",
    description: &[],
    flags: &[ROLES],
    examples: &[("etcdctl user revoke web --roles reader,writer", "revoke two roles")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (user, roles) = (user(args)?, roles(args)?);
    let change = UserChange::Revoke(&roles);
    session.client().await?.change_user(user, &change).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("User {user} updated\n"))
}
