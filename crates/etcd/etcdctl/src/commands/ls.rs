//! `ls`: lists a directory, optionally recursively.

use command_line::{Flag, ParsedArgs};
use etcd_client::{GetOptions, Node};

use super::arguments::request_failed;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "ls",
    arguments: "[key]",
    summary: "list a directory",
    description: &["Keys whose last segment starts with '_' are hidden."],
    flags: &[
        Flag::switch("sort", "sort by key"),
        Flag::switch("recursive,r", "list all keys below the directory"),
        Flag::switch("p", "append a slash to directories"),
        Flag::switch("quorum,q", "read through a quorum: linearizable, fails without a majority"),
    ],
    examples: &[
        ("etcdctl ls", "list the root directory"),
        ("etcdctl ls --recursive -p /services", "list a tree"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = args.argument(0).unwrap_or("/");
    let recursive = args.is_set("recursive");
    let options = GetOptions { recursive, sorted: args.is_set("sort"), quorum: args.is_set("quorum") };
    let response = session.client().await?.get(key, options).await.map_err(request_failed)?;
    let node = response.node();
    if !node.dir {
        return print(&format!("{}\n", node.key));
    }
    let mut lines = String::new();
    list(&node.nodes, recursive, args.is_set("p"), &mut lines);
    print(&lines)
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
