//! `auth`: enables and disables authentication.

mod disable;
mod enable;

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "auth",
    arguments: "",
    summary: "switch access control on and off",
    description: &[],
    flags: &[],
    examples: &[],
    run: Run::Group(&[&enable::COMMAND, &disable::COMMAND]),
};
