//! `mkdir`: creates a directory.

use command_line::ParsedArgs;
use etcd_client::{Exists, Set};

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
    let options = Set { dir: true, exists: Exists::No, ttl: ttl(args), ..Set::default() };
    session.client().await?.set(key, "", &options).await.map_err(request_failed)?;
    Ok(())
}
