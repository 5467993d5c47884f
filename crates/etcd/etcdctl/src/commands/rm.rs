//! `rm`: removes a key or a directory.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::DeleteOptions;

use super::arguments::{key, request_failed};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "rm",
    arguments: "<key>",
    summary: "remove a key or a directory",
    description: &[],
    flags: &[
        Flag::switch("dir", "remove an empty directory"),
        Flag::switch("recursive,r", "remove a directory and everything below it"),
        Flag::new(
            "with-value",
            ValueKind::Text,
            "remove only if the current value matches (compare-and-delete)",
        ),
        Flag::new("with-index", ValueKind::Number, "remove only if the current modified index matches")
            .default("0"),
    ],
    examples: &[
        ("etcdctl rm /message", "print the removed value"),
        ("etcdctl rm --recursive /services", "remove a tree"),
        ("etcdctl rm /lock --with-value me", "release one's own lock"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    let options = DeleteOptions {
        dir: args.is_set("dir"),
        recursive: args.is_set("recursive"),
        prev_value: args.text("with-value").map(str::to_owned),
        prev_index: args.number("with-index"),
    };
    let response = session.client().await?.delete(key, &options).await.map_err(request_failed)?;
    if response.node().dir && session.format() == "simple" {
        return Ok(());
    }
    session.print(&response)
}
