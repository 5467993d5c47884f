//! `lock`: takes the lock for a machine.

use command_line::ParsedArgs;
use locksmith_core::Note;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed, holder, write_note};
use crate::hands::machine::now;

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
        ("locksmithctl lock", "nobody else reboots, with a maximum of 1"),
        ("locksmithctl lock db-work", "any word"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let lock = session.lock().await?;
    let id = holder(given.argument(0))?;
    lock.lock(&id).await.map_err(|error| failed("locking", &error))?;
    // A person's: there is no boot that it ends with.
    let note = Note {
        since: now(),
        boot_id: String::new(),
        version: String::new(),
        reason: "locksmithctl lock".to_owned(),
    };
    write_note(&lock, &id, Some(&note)).await;
    Ok(())
}
