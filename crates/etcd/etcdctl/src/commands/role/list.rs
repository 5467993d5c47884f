//! `role list`: lists all roles.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    summary: "list all roles",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role list", "print one role per line, including root")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    if !args.arguments.is_empty() {
        return Err(Failure::usage("No arguments accepted"));
    }
    let roles = session.client().await?.roles().await.map_err(|error| Failure::plain(&error))?;
    print(&roles.iter().map(|role| format!("{}\n", role.role)).collect::<String>())
}
