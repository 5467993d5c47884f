//! `set`: sets the value of a key, optionally by compare-and-swap.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::SetOptions;

use super::arguments::{TTL, key, request_failed, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "set",
    arguments: "<key> <value>",
    summary: "set the value of a key",
    description: &[
        "A missing value is read from standard input. Put '--' before the key if the value starts with '-'.",
    ],
    flags: &[
        TTL,
        Flag::new(
            "swap-with-value",
            ValueKind::Text,
            "set only if the current value matches (compare-and-swap)",
        ),
        Flag::new("swap-with-index", ValueKind::Number, "set only if the current modified index matches")
            .default("0"),
    ],
    examples: &[
        ("etcdctl set /message Hello", "create or replace a key"),
        ("etcdctl set /lock me --ttl 30", "expire after 30 seconds"),
        ("etcdctl set /message Bye --swap-with-value Hello", "compare-and-swap"),
        ("etcdctl set -- /number -5", "set a negative number"),
        ("etcdctl set /config < file", "read the value from a file"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (key, value) = (key(args)?, value(args)?);
    let options = SetOptions {
        ttl: ttl(args),
        prev_value: args.text("swap-with-value").map(str::to_owned),
        prev_index: args.number("swap-with-index"),
        ..SetOptions::default()
    };
    let response = session.client().await?.set(key, value, &options).await.map_err(request_failed)?;
    session.print(&response)
}
