//! `role get`: shows the permissions of a role.

use command_line::ParsedArgs;

use super::name::role;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "get",
    arguments: "<role>",
    summary: "show the permissions of a role",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role get reader", "print its read and write patterns")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let role = role(args)?;
    let found = session.client().await?.role(role).await.map_err(|error| Failure::plain(&error))?;
    let lines = |paths: &[String]| paths.iter().map(|path| format!("\t{path}\n")).collect::<String>();
    let kv = &found.permissions.kv;
    print(&format!("Role: {}\nKV Read:\n{}KV Write:\n{}", found.role, lines(&kv.read), lines(&kv.write)))
}
