//! `reboot`: takes the lock and reboots this machine.

use command_line::ParsedArgs;
use locksmith_core::HolderMetadata;
use nix::unistd::geteuid;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed, holder_id, write_metadata};
use crate::io::{dbus, logind, machine};

pub const COMMAND: Command = Command {
    name: "reboot",
    arguments: "",
    summary: "Reboot honoring reboot locks.",
    description: &[
        "Takes the lock and reboots this machine. Its locksmithd gives the lock back after the reboot where its strategy",
        "is etcd-lock, or best-effort with an etcd on the machine; with another one unlock it yourself.",
    ],
    flags: &[],
    examples: &[("sudo locksmithctl reboot", "when it is this machine's turn")],
    run: Run::Execute(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, _: &ParsedArgs) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err(Failure::new("Must be root to initiate reboot."));
    }
    let id = holder_id(None)?;
    let bus = dbus::connect()
        .await
        .map_err(|error| Failure::new(format!("Error connecting to login1: {error}")))?;
    let lock = session.lock().await?;
    lock.lock(&id).await.map_err(|error| failed("locking", &error))?;
    let metadata = HolderMetadata {
        since: machine::now(),
        boot_id: machine::boot_id().unwrap_or_default(),
        version: machine::version(),
        reason: "locksmithctl reboot".to_owned(),
    };
    write_metadata(&lock, &id, Some(&metadata)).await;
    logind::reboot_unconditionally(&bus).await.map_err(|error| {
        Failure::new(format!(
            "Error rebooting: {}\nhint: locksmithctl unlock gives the lock back",
            error.message()
        ))
    })
}
