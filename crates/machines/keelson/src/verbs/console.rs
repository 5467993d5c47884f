//! `keelson console`: attaches to a machine's serial console, or prints its log.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Name of the machine
    name: String,
    /// Print the console log of all boots; a long log is shortened to each boot's start and the end
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
    context.progress.note(&format!("console of {}; Ctrl-] detaches", node.name));
    machines::console::attach(&files.console_socket()).context("cannot attach to the console")?;
    Ok(ExitCode::SUCCESS)
}
