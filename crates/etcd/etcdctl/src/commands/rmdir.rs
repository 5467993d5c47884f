//! `rmdir`: removes an empty directory, or a key.

use command_line::ParsedArgs;
use etcd_client::DeleteOptions;

use super::arguments::{key, request_failed};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "rmdir",
    arguments: "<key>",
    summary: "remove an empty directory or a key",
    description: &[],
    flags: &[],
    examples: &[("etcdctl rmdir /services", "fails if the directory is not empty")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let key = key(args)?;
    let options = DeleteOptions { dir: true, ..DeleteOptions::default() };
    let response = session.client().await?.delete(key, &options).await.map_err(request_failed)?;
    if response.node().dir && session.format() == "simple" {
        return Ok(());
    }
    session.print(&response)
}
