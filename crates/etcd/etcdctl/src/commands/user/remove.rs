//! `user remove`: removes a user.

use command_line::ParsedArgs;

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "remove",
    arguments: "<user>",
    summary: "remove a user",
    description: &[],
    flags: &[],
    examples: &[("etcdctl user remove web", "keeps its roles")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let user = user(args)?;
    session.client().await?.remove_user(user).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("User {user} removed\n"))
}
