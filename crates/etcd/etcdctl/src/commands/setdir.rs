//! `setdir`: creates a directory, replacing a key.

use command_line::ParsedArgs;
use etcd_client::{PrevExist, SetOptions};

use super::arguments::{TTL, key, request_failed, ttl};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "setdir",
    arguments: "<key>",
    summary: "create a directory, replacing a key",
    description: &["Fails if the directory exists. Use updatedir to change its TTL."],
    flags: &[TTL],
    examples: &[("etcdctl setdir /services", "create or replace")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// Prints nothing on success, in any format.
async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    let options =
        SetOptions { dir: true, prev_exist: PrevExist::Ignore, ttl: ttl(args), ..SetOptions::default() };
    session.client().await?.set(key, "", &options).await.map_err(request_failed)?;
    Ok(())
}
