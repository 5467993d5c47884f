//! `help`: shows the help of a command.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "help",
    arguments: "[command]",
    summary: "show the commands, or what one of them does",
    description: &[],
    flags: &[],
    examples: &[
        ("etcdctl help set", "the page of set"),
        ("etcdctl help member add", "of a command below another"),
    ],
    run: Run::Help,
};
