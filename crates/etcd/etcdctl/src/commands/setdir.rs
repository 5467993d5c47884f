//! `setdir`: a directory, new or in place of a file.

use command_line::ParsedArgs;
use etcd_client::{Exists, Set};

use super::arguments::{TTL, key, refused, ttl};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "setdir",
    arguments: "<key>",
    summary: "make a directory, also in place of a file",
    description: &[],
    flags: &[TTL],
    examples: &[("etcdctl setdir /services", "fails when it is a directory already")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

/// Prints nothing when all is well, in any format.
async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    let how = Set { dir: true, exists: Exists::Either, ttl: ttl(given), ..Set::default() };
    session.client().await?.set(key, "", &how).await.map_err(refused)?;
    Ok(())
}
