//! `rmdir`: an empty directory, or a key.

use command_line::ParsedArgs;
use etcd_client::Delete;

use super::arguments::{key, refused};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "rmdir",
    arguments: "<key>",
    summary: "remove a directory that is empty, or a key",
    description: &[],
    flags: &[],
    examples: &[("etcdctl rmdir /services", "fails when there is something in it")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let key = key(given)?;
    let how = Delete { dir: true, ..Delete::default() };
    let answer = session.client().await?.delete(key, &how).await.map_err(refused)?;
    if answer.node().dir && session.format() == "simple" {
        return Ok(());
    }
    session.print(&answer)
}
