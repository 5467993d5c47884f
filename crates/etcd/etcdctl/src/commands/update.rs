//! `update`: a new value for a key that must be there.

use command_line::ParsedArgs;

use super::arguments::{TTL, key, refused, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "update",
    arguments: "<key> <value>",
    summary: "change the value of a key that is there",
    description: &[
        "Without a value it is read from standard input, to its end.",
        "Without --ttl the key lives forever, also if it had a time to live before.",
    ],
    flags: &[TTL],
    examples: &[("etcdctl update /message Bye", "fails when there is no /message")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (key, value) = (key(given)?, value(given)?);
    let answer = session.client().await?.update(key, value, ttl(given)).await.map_err(refused)?;
    session.print(&answer)
}
