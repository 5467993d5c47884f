//! `mk`: a key that must be new.

use command_line::{Flag, ParsedArgs};

use super::arguments::{TTL, key, refused, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "mk",
    arguments: "<key> <value>",
    summary: "make a key that is not there yet",
    description: &["Without a value it is read from standard input, to its end."],
    flags: &[TTL, Flag::switch("in-order", "make a key in this directory, named after the store's index")],
    examples: &[
        ("etcdctl mk /lock me --ttl 30", "fails when somebody has it"),
        ("etcdctl mk --in-order /queue job", "appends to a queue"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (key, value) = (key(given)?, value(given)?);
    let client = session.client().await?;
    let answer = if given.is_set("in-order") {
        client.post(key, value, ttl(given)).await
    } else {
        client.create(key, value, ttl(given)).await
    };
    session.print(&answer.map_err(refused)?)
}
