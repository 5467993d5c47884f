//! `watch`: waits for changes of a key and prints them.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::WatchOptions;

use super::arguments::{key, request_failed};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const AFTER_INDEX: Flag =
    Flag::new("after-index", ValueKind::Number, "start after this index, including past changes")
        .default("0");
pub const RECURSIVE: Flag = Flag::switch("recursive,r", "watch all keys below, too");

pub const COMMAND: Command = Command {
    name: "watch",
    arguments: "<key>",
    summary: "watch a key for changes",
    description: &[
        "Exits after the first change unless --forever is set. Changes of directories are not printed.",
    ],
    flags: &[Flag::switch("forever,f", "keep watching until interrupted"), AFTER_INDEX, RECURSIVE],
    examples: &[
        ("etcdctl watch /message", "wait for the next value"),
        ("etcdctl watch --forever --recursive /services", "print all changes of a tree"),
        ("etcdctl watch /message --after-index 7", "resume after a known index"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// The options of `watch` and `exec-watch`.
pub fn watch_options(args: &ParsedArgs) -> WatchOptions {
    let after = args.number(AFTER_INDEX.name()).filter(|index| *index > 0);
    WatchOptions { recursive: args.is_set("recursive"), after, stream: false }
}

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    tokio::select! {
        done = follow(session, key, args) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

async fn follow(session: &Session, key: &str, args: &ParsedArgs) -> Result<(), Failure> {
    let options = watch_options(args);
    let mut watcher = session.client().await?.watch(key, options);
    loop {
        let response = watcher.next().await.map_err(request_failed)?;
        let node = response.node();
        if node.dir {
            continue;
        }
        if options.recursive {
            print(&format!("[{}] {}\n", response.event.action, node.key))?;
        }
        session.print(&response)?;
        if !args.is_set("forever") {
            return Ok(());
        }
    }
}
