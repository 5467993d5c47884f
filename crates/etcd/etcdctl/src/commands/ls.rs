//! `ls`: the keys of a directory, or of a tree.

use command_line::{Flag, ParsedArgs};
use etcd_client::{Get, Node};

use super::arguments::refused;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "ls",
    arguments: "[key]",
    summary: "list a directory",
    description: &["Keys whose last part begins with '_' are hidden."],
    flags: &[
        Flag::switch("sort", "sort by key"),
        Flag::switch("recursive,r", "list all that is below, directories before their content"),
        Flag::switch("p", "put a slash behind directories"),
        Flag::switch("quorum,q", "ask a majority: never stale, fails without one"),
    ],
    examples: &[("etcdctl ls", "the root"), ("etcdctl ls --recursive -p /services", "a whole tree")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = given.argument(0).unwrap_or("/");
    let recursive = given.is_set("recursive");
    let how = Get { recursive, sorted: given.is_set("sort"), quorum: given.is_set("quorum") };
    let answer = session.client().await?.get(key, how).await.map_err(refused)?;
    let node = answer.node();
    if !node.dir {
        return say(&format!("{}\n", node.key));
    }
    let mut lines = String::new();
    list(&node.nodes, recursive, given.is_set("p"), &mut lines);
    say(&lines)
}

fn list(nodes: &[Node], recursive: bool, slash: bool, lines: &mut String) {
    for node in nodes {
        let end = if slash && node.dir { "/\n" } else { "\n" };
        lines.push_str(&node.key);
        lines.push_str(end);
        if recursive {
            list(&node.nodes, recursive, slash, lines);
        }
    }
}
