//! `user passwd`: a new password.

use command_line::ParsedArgs;
use etcd_client::UserChange;

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::password;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "passwd",
    arguments: "<user>",
    summary: "give a user a new password",
    description: &["Asks for it."],
    flags: &[],
    examples: &[("etcdctl user passwd web", "shows nothing of what is typed")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let user = user(given)?;
    let client = session.client().await?;
    // A PUT for a user who is not there would make one.
    client.user(user).await.map_err(|error| Failure::plain(&error))?;
    let password = password::ask("New password: ")?;
    let change = UserChange::Password(&password);
    client.change_user(user, &change).await.map_err(|error| Failure::plain(&error))?;
    say("Password updated\n")
}
