//! `get`: prints the value of a key.

use command_line::{Flag, ParsedArgs};
use etcd_client::GetOptions;

use super::arguments::{key, request_failed};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "get",
    arguments: "<key>",
    summary: "print the value of a key",
    description: &[],
    flags: &[
        Flag::switch("sort", "sort the result by key"),
        Flag::switch("quorum,q", "read through a quorum: linearizable, fails without a majority"),
    ],
    examples: &[
        ("etcdctl get /message", "print the value"),
        ("etcdctl -o extended get /message", "print indexes and TTL, too"),
        ("etcdctl get --quorum /lock", "linearizable read"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    let options = GetOptions { recursive: false, sorted: args.is_set("sort"), quorum: args.is_set("quorum") };
    let response = session.client().await?.get(key, options).await.map_err(request_failed)?;
    let node = response.node();
    if node.dir {
        return Err(Failure::usage(format!("{}: is a directory", node.key)));
    }
    session.print(&response)
}
