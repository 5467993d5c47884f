//! `update`: updates the value of an existing key.

use command_line::ParsedArgs;

use super::arguments::{TTL, key, request_failed, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "update",
    arguments: "<key> <value>",
    summary: "update the value of an existing key",
    description: &[
        "Fails if the key does not exist. A missing value is read from standard input. Without --ttl, an",
        "existing TTL is removed.",
    ],
    flags: &[TTL],
    examples: &[("etcdctl update /message Bye", "replace the value")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (key, value) = (key(args)?, value(args)?);
    let response = session.client().await?.update(key, value, ttl(args)).await.map_err(request_failed)?;
    session.print(&response)
}
