//! `lock`: takes the lock for a machine.

use command_line::ParsedArgs;
use locksmith_core::HolderMetadata;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed, holder_id, write_metadata};
use crate::io::machine::now;

pub const COMMAND: Command = Command {
    name: "lock",
    arguments: "<machine-id>",
    summary: "Lock this machine or a given machine-id for reboot.",
    description: &[
        "Takes the lock for the given machine, or for this one if no id is given. It is held until somebody unlocks it,",
        "or, of this machine, until its locksmithd starts.",
    ],
    flags: &[],
    examples: &[
        ("locksmithctl lock", "with a maximum of 1, no other machine reboots"),
        ("locksmithctl lock db-work", "any word"),
    ],
    run: Run::Execute(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let lock = session.lock().await?;
    let id = holder_id(args.argument(0))?;
    lock.lock(&id).await.map_err(|error| failed("locking", &error))?;
    // Without a boot ID the machine does not release it.
    let metadata = HolderMetadata {
        since: now(),
        boot_id: String::new(),
        version: String::new(),
        reason: "locksmithctl lock".to_owned(),
    };
    write_metadata(&lock, &id, Some(&metadata)).await;
    Ok(())
}
