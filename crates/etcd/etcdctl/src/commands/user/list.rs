//! `user list`: lists all users.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    summary: "list all users",
    description: &[],
    flags: &[],
    examples: &[("etcdctl user list", "print one user per line")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    if !args.arguments.is_empty() {
        return Err(Failure::usage("No arguments accepted"));
    }
    let users = session.client().await?.users().await.map_err(|error| Failure::plain(&error))?;
    print(&users.iter().map(|user| format!("{}\n", user.user)).collect::<String>())
}
