//! `watch`: waits for a change, prints it.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::Watch;

use super::arguments::{key, refused};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const AFTER_INDEX: Flag =
    Flag::new("after-index", ValueKind::Number, "also changes of the past, after this index").default("0");
pub const RECURSIVE: Flag = Flag::switch("recursive,r", "changes of all keys below, too");

pub const COMMAND: Command = Command {
    name: "watch",
    arguments: "<key>",
    summary: "wait for a change of a key",
    description: &["Changes of directories themselves are not printed."],
    flags: &[Flag::switch("forever,f", "go on until ctrl-C"), AFTER_INDEX, RECURSIVE],
    examples: &[
        ("etcdctl watch /message", "prints its next value"),
        ("etcdctl watch --forever --recursive /services", "one change after the other"),
        ("etcdctl watch /message --after-index 7", "a change that may have been already"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

/// What to follow, as the flags of `watch` and `exec-watch` say it.
pub fn wanted(given: &ParsedArgs) -> Watch {
    let after = given.number(AFTER_INDEX.name()).filter(|index| *index > 0);
    Watch { recursive: given.is_set("recursive"), after, stream: false }
}

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    tokio::select! {
        done = follow(session, key, given) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

async fn follow(session: &Session, key: &str, given: &ParsedArgs) -> Result<(), Failure> {
    let how = wanted(given);
    let mut watcher = session.client().await?.watch(key, how);
    loop {
        let answer = watcher.next().await.map_err(refused)?;
        let node = answer.node();
        if node.dir {
            continue;
        }
        if how.recursive {
            say(&format!("[{}] {}\n", answer.event.action, node.key))?;
        }
        session.print(&answer)?;
        if !given.is_set("forever") {
            return Ok(());
        }
    }
}
