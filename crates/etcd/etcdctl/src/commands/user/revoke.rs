//! `user revoke`: roles that a user loses.

use command_line::ParsedArgs;
use etcd_client::UserChange;

use super::name::{ROLES, roles, user};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "revoke",
    arguments: "<user>",
    summary: "take roles from a user",
    description: &[],
    flags: &[ROLES],
    examples: &[("etcdctl user revoke web --roles reader,writer", "two of them")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (user, roles) = (user(given)?, roles(given)?);
    let change = UserChange::Revoke(&roles);
    session.client().await?.change_user(user, &change).await.map_err(|error| Failure::plain(&error))?;
    say(&format!("User {user} updated\n"))
}
