//! `completion`: prints a completion script for a shell.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "completion",
    arguments: "bash|zsh|fish",
    summary: "print a shell completion script",
    description: &[],
    flags: &[],
    examples: &[
        ("etcdctl completion bash > /etc/bash_completion.d/etcdctl", "install for all users"),
        ("source <(etcdctl completion bash)", "load into the current shell"),
    ],
    run: Run::Completion,
};
