//! `mkdir`: creates a directory.

use command_line::Given;
use etcd_client::{Exists, Set};

use super::arguments::{TTL, key, request_failed, ttl};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "mkdir",
    arguments: "<key>",
    summary: "make a directory that is not there yet",
    description: &[],
    flags: &[TTL],
    examples: &[("etcdctl mkdir /services", "fails when there is anything of that name")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// Prints nothing on success, in any format.
async fn run(session: &Session, args: &Given) -> Result<(), Failure> {
    let key = key(args)?;
    let options = Set { dir: true, exists: Exists::No, ttl: ttl(args), ..Set::default() };
    session.client().await?.set(key, "", &options).await.map_err(request_failed)?;
    Ok(())
}
