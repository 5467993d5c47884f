//! `completion`: prints a shell completion script.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "completion",
    arguments: "bash|zsh|fish",
    summary: "print a shell completion script",
    description: &[],
    flags: &[],
    examples: &[
        ("fleetctl completion bash > /etc/bash_completion.d/fleetctl", "install for all users"),
        ("source <(fleetctl completion bash)", "load into the current shell"),
    ],
    run: Run::Completion,
};
