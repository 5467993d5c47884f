//! `config`, `version`, `completion`, `help`.

use command_line::ParsedArgs;
use serde_json::json;

use crate::command::{Command, Run};
use crate::context::Context;
use crate::stdout::print;
use crate::trusted_keys;

pub const CONFIG: Command = Command {
    name: "config",
    arguments: "",
    summary: "print the configuration",
    description: &["Passwords are left out."],
    flags: &[],
    examples: &[("rkt config", "print it as JSON")],
    run: Run::Action(config),
};

pub const VERSION: Command = Command {
    name: "version",
    arguments: "",
    summary: "print the version",
    description: &[],
    flags: &[],
    examples: &[("rkt version", "print it")],
    run: Run::Version,
};

pub const COMPLETION: Command = Command {
    name: "completion",
    arguments: "SHELL",
    summary: "print a completion script for bash, zsh or fish",
    description: &[],
    flags: &[],
    examples: &[("rkt completion bash > /etc/bash_completion.d/rkt", "install it")],
    run: Run::Completion,
};

pub const HELP: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "show help",
    description: &[],
    flags: &[],
    examples: &[("rkt help run", "show the flags of run")],
    run: Run::Help,
};

fn config(context: &Context, _: &ParsedArgs) -> anyhow::Result<u8> {
    let keys: Vec<_> = context.configs().map(trusted_keys::folder).to_vec();
    let logins: Vec<_> = context.configs().map(|folder| folder.join("auth.d")).to_vec();
    let value = json!({
        "paths": { "data": context.dir, "keys": keys, "logins": logins },
        "stage1": { "runtime": crate::crun::PROGRAM },
    });
    print(&format!("{}\n", serde_json::to_string_pretty(&value)?)).map(|()| 0)
}
