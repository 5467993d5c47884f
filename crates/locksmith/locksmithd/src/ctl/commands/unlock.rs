//! `unlock`: releases a machine's lock.

use std::time::Duration;

use command_line::{Flag, ParsedArgs};
use jiff::Timestamp;
use locksmith_core::{STALE_AFTER, Staleness, staleness};

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed, holder_id, write_metadata};
use super::super::stdout::print;
use crate::io::fleet;

const STALE: Flag = Flag::switch("stale", "unlock each machine that is dead by the rule below");

pub const COMMAND: Command = Command {
    name: "unlock",
    arguments: "<machine-id>",
    summary: "Unlock this machine or a given machine-id for reboot.",
    description: &[
        "Gives back the lock that the given machine holds, or this one if no id is given. A machine gives it back by",
        "itself when it is healthy again; a machine that never returns blocks the others until then.",
        "",
        "Dead by the rule, for --stale, is a machine that took the lock itself to reboot, longer ago than --stale-after,",
        "and that the cluster manager does not see. Each that is unlocked so is named.",
    ],
    flags: &[STALE, STALE_AFTER],
    examples: &[
        ("locksmithctl unlock 69d27b356a94476da859461d3a3bc6fd", "that machine"),
        ("locksmithctl unlock --stale", "machines that are lost permanently"),
    ],
    run: Run::Execute(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    if args.is_set(STALE.name()) {
        let min_age = args.duration_or_default(STALE_AFTER.name());
        return unlock_stale(session, args, min_age).await;
    }
    let lock = session.lock().await?;
    let id = holder_id(args.argument(0))?;
    lock.unlock(&id).await.map_err(|error| failed("unlocking", &error))?;
    write_metadata(&lock, &id, None).await;
    Ok(())
}

async fn unlock_stale(session: &Session, args: &ParsedArgs, min_age: Duration) -> Result<(), Failure> {
    if !args.arguments.is_empty() {
        return Err(Failure::usage(
            "Error unlocking: --stale finds the machines by itself, give no machine-id",
        ));
    }
    let lock = session.lock().await?;
    let live = fleet::live_machines(&session.fleet()?).await.map_err(|error| {
        Failure::new(format!(
            "Error unlocking: the cluster manager cannot be asked which machines are there: {error}"
        ))
    })?;
    let metadata = lock.metadata().await.map_err(|error| failed("unlocking", &error))?;
    let semaphore = lock.semaphore().await.map_err(|error| failed("unlocking", &error))?;
    for id in semaphore.holders() {
        let verdict = staleness(id, metadata.get(id), Some(&live), Timestamp::now(), min_age);
        if verdict == Staleness::Stale {
            lock.unlock(id).await.map_err(|error| failed("unlocking", &error))?;
            write_metadata(&lock, id, None).await;
            print(&format!("Unlocked {id}\n"))?;
        }
    }
    Ok(())
}
