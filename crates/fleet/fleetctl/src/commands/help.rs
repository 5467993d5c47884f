//! `help`: prints help pages.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "show help of a command",
    description: &[],
    flags: &[],
    examples: &[("fleetctl help start", "show help of start")],
    run: Run::Help,
};
