//! `send-need-reboot`: notifies locksmithd that a reboot is needed.

use command_line::ParsedArgs;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::Session;
use crate::io::update_engine::send_need_reboot;

pub const COMMAND: Command = Command {
    name: "send-need-reboot",
    arguments: "",
    summary: "send a 'need reboot' signal over dbus.",
    description: &[
        "Says over D-Bus what the update agent says when an update waits for a reboot. locksmithd believes it of root.",
    ],
    flags: &[],
    examples: &[(
        "sudo locksmithctl send-need-reboot",
        "reboot when it is this machine's turn, as after an update",
    )],
    run: Run::Execute(|session, args| Box::pin(run(session, args))),
};

async fn run(_: &Session, _: &ParsedArgs) -> Result<(), Failure> {
    send_need_reboot().await.map_err(|error| Failure::new(format!("Error sending signal: {error}")))
}
