//! `set`: sets the value of a key, optionally by compare-and-swap.

use command_line::{Flag, Given, Takes};
use etcd_client::Set;

use super::arguments::{TTL, key, request_failed, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "set",
    arguments: "<key> <value>",
    summary: "give a key a value",
    description: &[
        "Without a value it is read from standard input, to its end.",
        "A value that begins with '-' looks like a flag: put '--' before the key then.",
    ],
    flags: &[
        TTL,
        Flag::new("swap-with-value", Takes::Text, "only if this is the value now"),
        Flag::new("swap-with-index", Takes::Number, "only if this is the modified index now").default("0"),
    ],
    examples: &[
        ("etcdctl set /message Hello", "makes or replaces it"),
        ("etcdctl set /lock me --ttl 30", "for half a minute"),
        ("etcdctl set /message Bye --swap-with-value Hello", "compare and swap"),
        ("etcdctl set -- /number -5", "a value that looks like a flag"),
        ("etcdctl set /config < file", "a value from a file"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &Given) -> Result<(), Failure> {
    let (key, value) = (key(args)?, value(args)?);
    let options = Set {
        ttl: ttl(args),
        prev_value: args.text("swap-with-value").map(str::to_owned),
        prev_index: args.number("swap-with-index"),
        ..Set::default()
    };
    let answer = session.client().await?.set(key, value, &options).await.map_err(request_failed)?;
    session.print(&answer)
}
