//! `mk`: creates a key.

use command_line::{Flag, ParsedArgs};

use super::arguments::{TTL, key, request_failed, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "mk",
    arguments: "<key> <value>",
    summary: "create a key",
    description: &["Fails if the key exists. A missing value is read from standard input."],
    flags: &[TTL, Flag::switch("in-order", "create an in-order key below this directory")],
    examples: &[
        ("etcdctl mk /lock me --ttl 30", "acquire a lock for 30 seconds"),
        ("etcdctl mk --in-order /queue job", "append to a queue"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (key, value) = (key(args)?, value(args)?);
    let client = session.client().await?;
    let response = if args.is_set("in-order") {
        client.post(key, value, ttl(args)).await
    } else {
        client.create(key, value, ttl(args)).await
    };
    session.print(&response.map_err(request_failed)?)
}
