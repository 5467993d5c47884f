//! `updatedir`: a new time to live for a directory.

use command_line::ParsedArgs;
use etcd_client::{Exists, Set};

use super::arguments::{TTL, key, refused, ttl};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "updatedir",
    arguments: "<key>",
    summary: "give a directory that is there a new time to live",
    description: &[],
    flags: &[TTL],
    examples: &[("etcdctl updatedir /services --ttl 60", "it and all below it end in a minute")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

/// Prints nothing when all is well, in any format.
async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    let how = Set { dir: true, exists: Exists::Yes, ttl: ttl(given), ..Set::default() };
    session.client().await?.set(key, "", &how).await.map_err(refused)?;
    Ok(())
}
