//! `auth`: enables and disables authentication.

mod disable;
mod enable;

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "auth",
    arguments: "",
    summary: "enable or disable authentication",
    description: &[],
    flags: &[],
    examples: &[],
    run: Run::Group(&[&enable::COMMAND, &disable::COMMAND]),
};
