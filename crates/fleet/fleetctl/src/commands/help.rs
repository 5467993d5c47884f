//! `help`: prints help pages.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "show the commands, or what one of them does",
    description: &[],
    flags: &[],
    examples: &[("fleetctl help start", "the page of start")],
    run: Run::Help,
};
