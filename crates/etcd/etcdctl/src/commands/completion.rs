//! `completion`: prints a completion script for a shell.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "completion",
    arguments: "bash|zsh|fish",
    summary: "print the completions for a shell",
    description: &[],
    flags: &[],
    examples: &[
        ("etcdctl completion bash > /etc/bash_completion.d/etcdctl", "for all users"),
        ("source <(etcdctl completion bash)", "for this shell"),
    ],
    run: Run::Completion,
};
