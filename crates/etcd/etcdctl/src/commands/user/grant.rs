//! `user grant`: roles that a user gets.

use command_line::ParsedArgs;
use etcd_client::UserChange;

use super::name::{ROLES, roles, user};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "grant",
    arguments: "<user>",
    summary: "give a user roles",
    description: &[],
    flags: &[ROLES],
    examples: &[("etcdctl user grant web --roles reader,writer", "two of them")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (user, roles) = (user(given)?, roles(given)?);
    let change = UserChange::Grant(&roles);
    session.client().await?.change_user(user, &change).await.map_err(|error| Failure::plain(&error))?;
    say(&format!("User {user} updated\n"))
}
