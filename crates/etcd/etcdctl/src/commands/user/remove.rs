//! `user remove`: a user who may no longer log in.

use command_line::ParsedArgs;

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "remove",
    arguments: "<user>",
    summary: "remove a user",
    description: &[],
    flags: &[],
    examples: &[("etcdctl user remove web", "its roles stay")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let user = user(given)?;
    session.client().await?.remove_user(user).await.map_err(|error| Failure::plain(&error))?;
    say(&format!("User {user} removed\n"))
}
