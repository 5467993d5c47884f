//! `help`: prints the help of a command.

use super::super::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "Show a list of commands or help for one command",
    description: &[],
    flags: &[],
    examples: &[("locksmithctl help lock", "the page of lock")],
    run: Run::Help,
};
