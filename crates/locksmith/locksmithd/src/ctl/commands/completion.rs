//! `completion`: prints a shell completion script.

use super::super::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "completion",
    arguments: "bash|zsh|fish",
    summary: "Print the completions for a shell",
    description: &[],
    flags: &[],
    examples: &[("source <(locksmithctl completion bash)", "for this shell")],
    run: Run::Completion,
};
