//! `role get`: what a role allows.

use command_line::ParsedArgs;

use super::name::role;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "get",
    arguments: "<role>",
    summary: "show what a role allows",
    description: &[],
    flags: &[],
    examples: &[("etcdctl role get reader", "patterns of keys, for reading and for writing")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let role = role(given)?;
    let found = session.client().await?.role(role).await.map_err(|error| Failure::plain(&error))?;
    let lines = |paths: &[String]| paths.iter().map(|path| format!("\t{path}\n")).collect::<String>();
    let kv = &found.permissions.kv;
    say(&format!("Role: {}\nKV Read:\n{}KV Write:\n{}", found.role, lines(&kv.read), lines(&kv.write)))
}
