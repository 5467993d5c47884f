//! `completion`: prints a shell completion script.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "completion",
    arguments: "bash|zsh|fish",
    summary: "print the completions for a shell",
    description: &[],
    flags: &[],
    examples: &[
        ("fleetctl completion bash > /etc/bash_completion.d/fleetctl", "for all users"),
        ("source <(fleetctl completion bash)", "for this shell"),
    ],
    run: Run::Completion,
};
