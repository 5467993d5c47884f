//! `user list`: all users.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    summary: "list all users",
    description: &[],
    flags: &[],
    examples: &[("etcdctl user list", "one a line")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    if !given.arguments.is_empty() {
        return Err(Failure::usage("No arguments accepted"));
    }
    let users = session.client().await?.users().await.map_err(|error| Failure::plain(&error))?;
    say(&users.iter().map(|user| format!("{}\n", user.user)).collect::<String>())
}
