//! `keelson console`: attaches to a machine's serial console, or prints its log.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Machine
    name: String,
    /// Print what the console has shown since the machine was made; of much, the end and each boot's beginning
    #[arg(long)]
    log: bool,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let node = context.node(&flags.name)?;
    let files = context.layout()?.node(&node.name);
    if flags.log {
        let path = files.console_log();
        let content =
            machines::logs::read_all(&path).with_context(|| format!("cannot read {}", path.display()))?;
        output::print(content)?;
        return Ok(ExitCode::SUCCESS);
    }
    let node = context.running(&node.name)?;
    context.progress.note(&format!("console of {}; Ctrl-] leaves", node.name));
    machines::console::attach(&files.console_socket()).context("the console cannot be reached")?;
    Ok(ExitCode::SUCCESS)
}
