//! `mkdir`: a directory that must be new.

use command_line::ParsedArgs;
use etcd_client::{Exists, Set};

use super::arguments::{TTL, key, refused, ttl};
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
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

/// Prints nothing when all is well, in any format.
async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    let how = Set { dir: true, exists: Exists::No, ttl: ttl(given), ..Set::default() };
    session.client().await?.set(key, "", &how).await.map_err(refused)?;
    Ok(())
}
