//! `get`: the value of a key.

use command_line::{Flag, ParsedArgs};
use etcd_client::Get;

use super::arguments::{key, refused};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "get",
    arguments: "<key>",
    summary: "print the value of a key",
    description: &[],
    flags: &[
        Flag::switch("sort", "sort what lies below"),
        Flag::switch("quorum,q", "ask a majority: never stale, fails without one"),
    ],
    examples: &[
        ("etcdctl get /message", "its value"),
        ("etcdctl -o extended get /message", "with its indexes and time to live"),
        ("etcdctl get --quorum /lock", "as it is now, whichever member answers"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    let how = Get { recursive: false, sorted: given.is_set("sort"), quorum: given.is_set("quorum") };
    let answer = session.client().await?.get(key, how).await.map_err(refused)?;
    let node = answer.node();
    if node.dir {
        return Err(Failure::usage(format!("{}: is a directory", node.key)));
    }
    session.print(&answer)
}
