//! `keelson ssh`: becomes OpenSSH's client, so that terminal, signals and exit code are its own.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::context::Context;

/// Options of ssh that take a value as their next word.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOopPQRSWw";

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Machine to log in to
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
    Err(ssh.exec()).context("ssh cannot be run (package openssh-client)")
}

/// Divides the words into options of ssh and the command.
fn split(words: &[String]) -> (&[String], &[String]) {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else { break };
        if letters == "-" {
            return (&words[..index], &words[index + 1..]);
        }
        // `-L 1:a:2` takes the next word, `-L1:a:2` has its value.
        let mut chars = letters.chars();
        let valued = chars.by_ref().find(|char| WITH_VALUE.contains(*char)).is_some();
        index += if valued && chars.next().is_none() { 2 } else { 1 };
    }
    words.split_at(index.min(words.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_before_the_command() {
        let check = |words: &str, options: usize| {
            let words: Vec<String> = words.split_ascii_whitespace().map(str::to_owned).collect();
            assert_eq!(split(&words).0.len(), options, "{words:?}");
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
