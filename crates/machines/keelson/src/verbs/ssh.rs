//! `keelson ssh`: executes OpenSSH's client, which then owns terminal, signals and exit code.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::context::Context;

/// Options of ssh whose value may be the next argument.
const OPTIONS_WITH_VALUE: &str = "BbcDEeFIiJLlmOopPQRSWw";

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Name of the machine
    name: String,
    /// Options for ssh (such as -A), then the command to run instead of a shell
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let node = context.running(&flags.name)?;
    let (options, command) = split(&flags.arguments);
    let mut ssh = machines::ssh::command(&context.layout()?, &node, options);
    ssh.args(command);
    Err(ssh.exec()).context("cannot run ssh (package openssh-client)")
}

/// Splits the arguments into ssh options and the remote command.
fn split(arguments: &[String]) -> (&[String], &[String]) {
    let mut index = 0;
    while let Some(argument) = arguments.get(index) {
        let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else { break };
        if letters == "-" {
            return (&arguments[..index], &arguments[index + 1..]);
        }
        // `-L 1:a:2` takes the next argument, `-L1:a:2` includes its value.
        let mut chars = letters.chars();
        let takes_value = chars.by_ref().find(|char| OPTIONS_WITH_VALUE.contains(*char)).is_some();
        index += if takes_value && chars.next().is_none() { 2 } else { 1 };
    }
    arguments.split_at(index.min(arguments.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_command() {
        let check = |arguments: &str, options: usize| {
            let arguments: Vec<String> = arguments.split_ascii_whitespace().map(str::to_owned).collect();
            assert_eq!(split(&arguments).0.len(), options, "{arguments:?}");
        };
        check("", 0);
        check("-A", 1);
        check("systemctl --failed", 0);
        check("-A uname -a", 1);
        check("-L 8080:localhost:80 -N", 3);
        check("-L8080:localhost:80 true", 1);
        check("-tA -o X=y true", 3);
        check("-L", 1);
    }
}
