//! `rm`: a key, a directory, a tree.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::Delete;

use super::arguments::{key, refused};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "rm",
    arguments: "<key>",
    summary: "remove a key or a directory",
    description: &[],
    flags: &[
        Flag::switch("dir", "remove a directory that is empty"),
        Flag::switch("recursive,r", "remove a directory with all that is in it"),
        Flag::new("with-value", ValueKind::Text, "only if this is the value now"),
        Flag::new("with-index", ValueKind::Number, "only if this is the modified index now").default("0"),
    ],
    examples: &[
        ("etcdctl rm /message", "prints what it was"),
        ("etcdctl rm --recursive /services", "a whole tree"),
        ("etcdctl rm /lock --with-value me", "gives up a lock, only one's own"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    let how = Delete {
        dir: given.is_set("dir"),
        recursive: given.is_set("recursive"),
        prev_value: given.text("with-value").map(str::to_owned),
        prev_index: given.number("with-index"),
    };
    let answer = session.client().await?.delete(key, &how).await.map_err(refused)?;
    if answer.node().dir && session.format() == "simple" {
        return Ok(());
    }
    session.print(&answer)
}
