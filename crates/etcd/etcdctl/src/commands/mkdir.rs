//! `mkdir`: creates a directory.

use command_line::ParsedArgs;
use etcd_client::{PrevExist, SetOptions};

use super::arguments::{TTL, key, request_failed, ttl};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "mkdir",
    arguments: "<key>",
    summary: "create a directory",
    description: &["Fails if the key exists."],
    flags: &[TTL],
    examples: &[("etcdctl mkdir /services", "create a directory without expiration")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// Prints nothing on success, in any format.
async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    let options =
        SetOptions { dir: true, prev_exist: PrevExist::NoExist, ttl: ttl(args), ..SetOptions::default() };
    session.client().await?.set(key, "", &options).await.map_err(request_failed)?;
    Ok(())
}
