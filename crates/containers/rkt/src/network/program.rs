//! `ip` and `nft`, with commands on standard input.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Characters of a program's message in errors.
const MAX_MESSAGE: usize = 500;

pub fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    output(program, arguments, input).map(drop)
}

pub fn output(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("cannot write to {program}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {program}"))?;
    if !output.status.success() {
        let message: String =
            String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_MESSAGE).collect();
        bail!("{program} failed ({}): {message}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
