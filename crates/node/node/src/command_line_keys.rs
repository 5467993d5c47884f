//! `keelson-command-line-keys`: the `sshkey=` arguments of the kernel command line as a cloud-config.

use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;

use crate::root::Root;

const COMMAND_LINE: &str = "/proc/cmdline";
const KEY: &str = "sshkey=";

/// Prints a cloud-config that authorizes the keys in sshkey= arguments of the kernel command line for core.
#[derive(Parser)]
#[command(name = "keelson-command-line-keys")]
struct Flags {
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let text = fs::read_to_string(flags.root.at(COMMAND_LINE))
        .with_context(|| format!("cannot read {COMMAND_LINE}"))?;
    // JSON is YAML, whatever a key contains.
    println!("#cloud-config\n{}", json!({ "ssh_authorized_keys": keys(&text) }));
    Ok(ExitCode::SUCCESS)
}

/// A key is quoted, since it contains spaces. Without quotes it is its type and its data, without a comment.
fn keys(command_line: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = command_line.trim_end();
    while let Some(at) = rest.find(KEY) {
        let is_argument = rest[..at].chars().next_back().is_none_or(char::is_whitespace);
        rest = &rest[at + KEY.len()..];
        if !is_argument {
            continue;
        }
        let key = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default().trim().to_owned(),
            None => rest.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" "),
        };
        // The type alone authorizes nobody.
        if key.contains(' ') {
            keys.push(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command_line: &str, expected: &[&str]) {
        assert_eq!(keys(command_line), expected, "{command_line}");
    }

    #[test]
    fn keys_are_quoted_or_two_words() {
        check("console=ttyS0 quiet\n", &[]);
        check("a sshkey=\"ssh-rsa AAAA core@host b\" c\n", &["ssh-rsa AAAA core@host b"]);
        check("sshkey=ssh-ed25519 AAAA quiet sshkey=\"ssh-rsa BBBB\"", &["ssh-ed25519 AAAA", "ssh-rsa BBBB"]);
        check("sshkey=\"ssh-rsa AAAA", &["ssh-rsa AAAA"]);
    }

    #[test]
    fn anything_else_is_no_key() {
        check("sshkey= sshkey=\"\"", &[]);
        check("sshkey=\"ssh-rsa\" xsshkey=\"ssh-rsa AAAA\"", &[]);
        check("sshkey=ssh-rsa", &[]);
    }
}
