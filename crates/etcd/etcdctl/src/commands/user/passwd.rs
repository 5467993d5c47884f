//! `user passwd`: changes the password of a user.

use command_line::ParsedArgs;
use etcd_client::UserChange;

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::password;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "passwd",
    arguments: "<user>",
    summary: "change the password of a user",
    description: &["Prompts for the new password."],
    flags: &[],
    examples: &[("etcdctl user passwd web", "read the password without echo")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let user = user(args)?;
    let client = session.client().await?;
    // A PUT for an unknown user would create it.
    client.user(user).await.map_err(|error| Failure::plain(&error))?;
    let password = password::prompt("New password: ")?;
    let change = UserChange::Password(&password);
    client.change_user(user, &change).await.map_err(|error| Failure::plain(&error))?;
    print("Password updated\n")
}
