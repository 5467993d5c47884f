//! `keelson console`: a terminal on a machine's serial console, or what it has shown so far.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use machines::process::Process;
use machines::site::SiteError;

use crate::context::Context;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Machine
    name: String,
    /// Print what the console has shown since the machine was made
    #[arg(long)]
    log: bool,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let cluster = context.load()?;
    let node = cluster.node(&flags.name).ok_or_else(|| SiteError::NoNode {
        name: flags.name.clone(),
        has: cluster.nodes.iter().map(|node| node.name.clone()).collect(),
    })?;
    let files = context.layout.node(&node.name);
    if flags.log {
        let path = files.console_log();
        let shown = std::fs::read(&path).with_context(|| format!("can not read {}", path.display()))?;
        std::io::stdout().write_all(&shown).context("can not write to stdout")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !node.process.is_some_and(Process::alive) {
        return Err(SiteError::Stopped(flags.name.clone()).into());
    }
    context.progress.note(&format!("console of {}; Ctrl-] leaves", node.name));
    machines::console::attach(&files.console_socket()).context("the console can not be reached")?;
    Ok(ExitCode::SUCCESS)
}
