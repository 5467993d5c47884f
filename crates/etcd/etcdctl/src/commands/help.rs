//! `help`: shows the help of a command.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "help",
    arguments: "[command]",
    summary: "show help of a command",
    description: &[],
    flags: &[],
    examples: &[("etcdctl help set", "help of set"), ("etcdctl help member add", "help of a subcommand")],
    run: Run::Help,
};
