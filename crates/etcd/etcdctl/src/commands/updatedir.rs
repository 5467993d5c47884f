//! `updatedir`: updates the TTL of an existing directory.

use command_line::ParsedArgs;
use etcd_client::{PrevExist, SetOptions};

use super::arguments::{TTL, key, request_failed, ttl};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "updatedir",
    arguments: "<key>",
    summary: "update the TTL of an existing directory",
    description: &[],
    flags: &[TTL],
    examples: &[("etcdctl updatedir /services --ttl 60", "expire with all keys below in 60 seconds")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// Prints nothing on success, in any format.
async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    let options =
        SetOptions { dir: true, prev_exist: PrevExist::Exist, ttl: ttl(args), ..SetOptions::default() };
    session.client().await?.set(key, "", &options).await.map_err(request_failed)?;
    Ok(())
}
