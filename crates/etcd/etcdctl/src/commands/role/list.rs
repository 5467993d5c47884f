//! `role list`: all roles.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    summary: "list all roles",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role list", "one a line; root is always there")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    if !given.arguments.is_empty() {
        return Err(Failure::usage("No arguments accepted"));
    }
    let roles = session.client().await?.roles().await.map_err(|error| Failure::plain(&error))?;
    say(&roles.iter().map(|role| format!("{}\n", role.role)).collect::<String>())
}
